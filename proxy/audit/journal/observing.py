"""What the metrics say of a journal's batches: counted here, and handed over together."""

from proxy.metrics import Metrics, Tally


class BatchObserver:
    """Counts the batches of one journal; a batch is too short a time to tell of each by itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._records = Tally(metrics.journal_batch_records)
        self._seconds = Tally(metrics.journal_sync_seconds)
        self._bytes = 0

    def durable(self, records: int, size: int, seconds: float) -> None:
        """A batch of `records` in `size` bytes became durable, and took the disk `seconds`."""
        self._records.observe(records)
        self._seconds.observe(seconds)
        self._bytes += size

    def flush(self, waiting: int) -> None:
        """Hand over what was counted, and that `waiting` records are queued now."""
        self._records.flush()
        self._seconds.flush()
        self._metrics.journal_bytes.inc(self._bytes)
        self._bytes = 0
        self._metrics.journal_queue_records.set(waiting)
