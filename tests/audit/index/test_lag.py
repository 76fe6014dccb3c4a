"""How far an index is behind: measured at the journals, so true also while the index is away."""

from pathlib import Path

from proxy.audit.index.lag import Lag
from proxy.audit.index.tailing import JournalTail
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from tests.audit.journals import NOW, FaultyStorage, a_call, intent, writing


def shown(metrics: Metrics) -> tuple[float | None, float | None]:
    value = metrics.registry.get_sample_value
    return value("kubewitness_index_lag_records"), value("kubewitness_index_lag_seconds")


def follow(tail: JournalTail) -> None:
    while (step := tail.step()) is not None:
        tail.accept(step)


async def test_it_grows_with_the_journal_and_ends_with_the_last_record(tmp_path: Path) -> None:
    clock, metrics = ManualClock(NOW), Metrics()
    directory = tmp_path / "journal" / "0"
    lag = Lag(lambda: [directory], clock=clock, metrics=metrics)
    async with writing(tmp_path, FaultyStorage(), clock) as journal:
        tail = JournalTail(directory)
        follow(tail)
        lag.moved(directory, tail.position)
        for _ in range(5):
            await journal.append(intent(a_call()))
        clock.advance(30)
        await lag.measure()
        assert lag.records == 5
        assert shown(metrics) == (5.0, 30.0)
        follow(tail)
        lag.moved(directory, tail.position)
        await lag.measure()
        assert shown(metrics) == (0.0, 0.0)
        await journal.append(intent(a_call()))
        await lag.measure()
        assert lag.records == 1
        lag.level()
        assert (lag.records, shown(metrics)) == (0, (0.0, 0.0))
