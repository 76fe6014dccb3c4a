"""What the process says about its calls: metrics, and one canonical log line each at debug."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from proxy.gateway.record import CallRecord
from proxy.kube.request_info import CallClass
from proxy.metrics import Metrics, Tally

_log = structlog.get_logger("kubewitness.call")

_OPEN_ENDED: Final = frozenset({CallClass.STREAM, CallClass.PRIVILEGED})


class Observer:
    """Counts calls here, and hands the counts to the metrics when `flush` is called.

    Must be flushed often (the listener's sweep does): a scrape shows what was flushed last.
    """

    def __init__(self, metrics: Metrics, known_cluster: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self._known = known_cluster
        self._calls: dict[tuple[str, str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], Tally] = {}
        self._upstream: dict[str, Tally] = {}
        self._in_flight = 0
        self._in = 0
        self._out = 0
        self._debug = structlog.get_logger("kubewitness.call").is_enabled_for(10)

    def flush(self) -> None:
        """Hand what was counted to the metrics."""
        metrics = self._metrics
        metrics.calls_in_flight.set(self._in_flight)
        calls, self._calls = self._calls, {}
        for key, count in calls.items():
            metrics.calls.labels(*key).inc(count)
        for tally in (*self._seconds.values(), *self._upstream.values()):
            tally.flush()
        metrics.bytes.labels("in").inc(self._in)
        metrics.bytes.labels("out").inc(self._out)
        self._in = self._out = 0

    def begun(self) -> None:
        """A call arrived."""
        self._in_flight += 1

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
        self._in_flight -= 1
        call = record.call
        cluster = call.cluster if self._known(call.cluster) else ""
        key = (cluster, call.verb, call.call_class, record.status)
        self._calls[key] = self._calls.get(key, 0) + 1
        elapsed = record.elapsed
        if call.call_class not in _OPEN_ENDED:
            self._of_calls(cluster, call.call_class).observe(elapsed)
        if record.upstream_micros:
            self._of_upstream(cluster).observe(record.upstream_micros / 1e6)
        self._in += record.bytes_in
        self._out += record.bytes_out
        if self._debug:
            self._line(record, elapsed)

    def _of_calls(self, cluster: str, call_class: str) -> Tally:
        found = self._seconds.get((cluster, call_class))
        if found is None:
            found = Tally(self._metrics.call_seconds.labels(cluster, call_class))
            self._seconds[cluster, call_class] = found
        return found

    def _of_upstream(self, cluster: str) -> Tally:
        found = self._upstream.get(cluster)
        if found is None:
            found = Tally(self._metrics.upstream_seconds.labels(cluster))
            self._upstream[cluster] = found
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
