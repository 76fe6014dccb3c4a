"""What is counted of batches shows when it is handed over, all of it, once."""

from proxy.audit.journal.observing import BatchObserver
from proxy.metrics import Metrics


def test_batches_show_together_and_once() -> None:
    metrics = Metrics()
    observer = BatchObserver(metrics)

    def shown() -> list[float | None]:
        return [
            metrics.registry.get_sample_value(f"kubewitness_journal_{name}")
            for name in (
                "batch_records_sum",
                "batch_records_count",
                "sync_seconds_sum",
                "bytes_total",
                "queue_records",
            )
        ]

    observer.durable(3, 1000, 0.25)
    observer.durable(1, 500, 0.5)
    assert shown() == [0, 0, 0, 0, 0]
    observer.flush(7)
    assert shown() == [4, 2, 0.75, 1500, 7]
    observer.flush(0)
    assert shown() == [4, 2, 0.75, 1500, 0]
