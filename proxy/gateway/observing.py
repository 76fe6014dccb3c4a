"""What the process says about its calls: metrics, and one canonical log line each at debug."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from proxy.gateway.record import CallRecord
from proxy.kube.request_info import CallClass
from proxy.metrics import Metrics

_log = structlog.get_logger("kubewitness.call")

_OPEN_ENDED: Final = frozenset({CallClass.STREAM, CallClass.PRIVILEGED})
_MAX_CHILDREN: Final = 10_000


class Observer:
    """Counts calls. Label lookups are kept, because they cost more than counting."""

    def __init__(self, metrics: Metrics, known_cluster: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self._known = known_cluster
        self._calls: dict[tuple[str, str, str, int], Counter] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._upstream: dict[str, Histogram] = {}
        self._in = metrics.bytes.labels("in")
        self._out = metrics.bytes.labels("out")
        self._debug = structlog.get_logger("kubewitness.call").is_enabled_for(10)

    def begun(self) -> None:
        """A call arrived."""
        self._metrics.calls_in_flight.inc()

    def refused(self, category: str) -> None:
        """We answered a call ourselves, or dropped a connection."""
        self._metrics.refusals.labels(category).inc()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A watch, a followed log or a tunnel is under way."""
        self._metrics.streams_open.inc()
        try:
            yield
        finally:
            self._metrics.streams_open.dec()

    def ended(self, record: CallRecord) -> None:
        """A call ended, one way or another."""
        self._metrics.calls_in_flight.dec()
        call = record.call
        cluster = call.cluster if self._known(call.cluster) else ""
        key = (cluster, call.verb, call.call_class, record.status)
        counter = self._calls.get(key)
        if counter is None:
            if len(self._calls) > _MAX_CHILDREN:
                self._calls.clear()
            counter = self._metrics.calls.labels(cluster, call.verb, call.call_class, record.status)
            self._calls[key] = counter
        counter.inc()
        elapsed = record.elapsed
        if call.call_class not in _OPEN_ENDED:
            self._histogram(cluster, call.call_class).observe(elapsed)
        if record.upstream_micros:
            self._upstream_histogram(cluster).observe(record.upstream_micros / 1e6)
        if record.bytes_in:
            self._in.inc(record.bytes_in)
        if record.bytes_out:
            self._out.inc(record.bytes_out)
        if self._debug:
            self._line(record, elapsed)

    def _histogram(self, cluster: str, call_class: str) -> Histogram:
        found = self._seconds.get((cluster, call_class))
        if found is None:
            found = self._metrics.call_seconds.labels(cluster, call_class)
            self._seconds[cluster, call_class] = found
        return found

    def _upstream_histogram(self, cluster: str) -> Histogram:
        found = self._upstream.get(cluster)
        if found is None:
            found = self._upstream[cluster] = self._metrics.upstream_seconds.labels(cluster)
        return found

    @staticmethod
    def _line(record: CallRecord, elapsed: float) -> None:
        call = record.call
        _log.debug(
            "call",
            audit_id=call.audit_id,
            user=call.user.username,
            source=call.source_ips[0],
            cluster=call.cluster,
            verb=call.verb,
            uri=call.request_uri[:512],
            code=record.status,
            close_reason=record.close_reason,
            bytes_in=record.bytes_in,
            bytes_out=record.bytes_out,
            seconds=round(elapsed, 6),
        )
