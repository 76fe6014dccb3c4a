"""Every metric of the product, in one table.

`docs/` shows the same table and a test compares the two. Labels hold names we know (clusters,
verbs, classes, codes), never text a client can choose freely.
"""

import math
import warnings
from bisect import bisect_left
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SYNC_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1)
REFUSALS: Final = (
    "altered-credential",
    "bad-certificate",
    "bad-identity",
    "bad-impersonation",
    "bad-request",
    "bad-target",
    "bad-upgrade",
    "cluster-refused",
    "connection-limit",
    "control-denied",
    "disabled",
    "expired",
    "http-version",
    "impersonation",
    "journal",
    "last-gate",
    "no-access",
    "no-certificate",
    "no-cluster",
    "no-grant",
    "not-yet-valid",
    "proxy-protocol",
    "revoked",
    "slow-request",
    "tls-handshake",
    "tls-timeout",
    "unknown-credential",
    "unreadable-request",
    "upstream",
    "uri-too-long",
    "wrong-usage",
)
"""Reasons of `refusals`. They are there from the start: the increase of a counter that appears with
its first value cannot be seen."""
FLAGS: Final = (
    "denial-burst",
    "long-silence",
    "new-address",
    "new-network",
    "off-hours",
    "secret-burst",
    "secret-list",
    "two-networks",
)
"""Flags of `suspicious`, there from the start likewise."""
LISTENERS: Final = ("control", "data")
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Metrics:
    """The process's metrics, on a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        self.calls = Counter(
            "kubewitness_calls",
            "Calls that ended, by cluster, verb, class and status code.",
            ["cluster", "verb", "class", "code"],
            registry=registry,
        )
        self.call_seconds = Histogram(
            "kubewitness_call_duration_seconds",
            "Time from a call's arrival to its outcome; streams not included.",
            ["cluster", "class"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.upstream_seconds = Histogram(
            "kubewitness_upstream_duration_seconds",
            "Time the cluster took to begin its answer.",
            ["cluster"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.calls_in_flight = Gauge(
            "kubewitness_calls_in_flight",
            "Calls under way, streams included.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.streams_open = Gauge(
            "kubewitness_streams_open",
            "Watches, followed logs and upgraded streams under way.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.connections_open = Gauge(
            "kubewitness_connections_open",
            "Client connections to the data plane.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.bytes = Counter(
            "kubewitness_bytes",
            "Body and stream bytes forwarded, by direction (in: to the cluster).",
            ["direction"],
            registry=registry,
        )
        self.refusals = Counter(
            "kubewitness_refusals",
            "Calls and connections we refused ourselves, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in REFUSALS:
            self.refusals.labels(reason)
        self.refusals_summed = Counter(
            "kubewitness_refusals_summed",
            "Refusals without a credential that are on record in a sum, not one by one, by listener.",
            ["listener"],
            registry=registry,
        )
        for listener in LISTENERS:
            self.refusals_summed.labels(listener)
        self.suspicious = Counter(
            "kubewitness_suspicious",
            "Uses of credentials that are out of the ordinary, by flag.",
            ["flag"],
            registry=registry,
        )
        for flag in FLAGS:
            self.suspicious.labels(flag)
        self.journal_batch_records = Histogram(
            "kubewitness_journal_batch_records",
            "Records made durable by one sync.",
            buckets=_BATCH,
            registry=registry,
        )
        self.journal_sync_seconds = Histogram(
            "kubewitness_journal_sync_seconds",
            "Time to write and sync one batch.",
            buckets=_SYNC_SECONDS,
            registry=registry,
        )
        self.journal_queue_records = Gauge(
            "kubewitness_journal_queue_records",
            "Records waiting for the disk.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.journal_bytes = Counter(
            "kubewitness_journal_bytes", "Bytes of records made durable.", registry=registry
        )
        self.journal_ok = Gauge(
            "kubewitness_journal_ok",
            "1 while records can be made durable, 0 when calls are refused.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.audit_state = Gauge(
            "kubewitness_audit_state",
            "0 ok, 1 degraded (recorded, but something needs care), 2 closed (calls are refused).",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.journal_free_ratio = Gauge(
            "kubewitness_journal_free_ratio",
            "Free space of the journal's volume, 0 to 1.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.journal_reserve_bytes = Gauge(
            "kubewitness_journal_reserve_bytes",
            "Bytes left of the reserve for break-glass calls.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.break_glass_calls = Counter(
            "kubewitness_break_glass_calls",
            "Calls that went on by break-glass while others were refused.",
            registry=registry,
        )
        self.database_up = Gauge(
            "kubewitness_database_up",
            "1 while PostgreSQL takes records and keeps them; always 1 with an embedded database.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.index_lag_records = Gauge(
            "kubewitness_index_lag_records",
            "Records in the journals that are not in the index yet.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.index_lag_seconds = Gauge(
            "kubewitness_index_lag_seconds",
            "Age of the oldest record that is not in the index yet.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "kubewitness_certificate_expiry_timestamp_seconds",
            "When a certificate of ours ends (seconds since the epoch), by name.",
            ["name"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.cluster_up = Gauge(
            "kubewitness_cluster_up",
            "1 when the cluster answered the proxy's own account last, twice a minute; 0 when not.",
            ["cluster"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.cluster_certificate_expiry = Gauge(
            "kubewitness_cluster_certificate_expiry_timestamp_seconds",
            "When a cluster's certificate (server) or ours there (account) ends, if nobody renews it.",
            ["cluster", "name"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.rolebinding_drift = Gauge(
            "kubewitness_cluster_rolebinding_drift",
            "RoleBindings of a cluster that are not as the grants say, where they are looked after.",
            ["cluster"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.build = Info("kubewitness_build", "Version of the running proxy.", registry=registry)


def forget(gauge: Gauge, *labels: str) -> None:
    """Show no more of `gauge` for what is gone.

    Values that processes share can only be overwritten: there it is left as NaN, which no
    comparison of an alert is true for.
    """
    gauge.labels(*labels).set(math.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        gauge.remove(*labels)


class Tally:
    """Observations of one histogram child, counted here and handed over together.

    The client library locks and looks up a bucket for each observation, which costs as much as
    parsing a request. Its children have no public way to take several at once.
    """

    __slots__ = ("_bounds", "_child", "_counts", "_sum")

    def __init__(self, child: Histogram) -> None:
        self._child = child
        self._bounds = child._upper_bounds  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Hand over what was counted since the last time."""
        if not any(self._counts):
            return
        for bucket, count in zip(self._child._buckets, self._counts, strict=True):  # noqa: SLF001
            if count:
                bucket.inc(count)
        self._child._sum.inc(self._sum)  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
