"""The parts of one process, as far as they depend on each other."""

import json

import pytest

from proxy.audit.gate import Level
from proxy.audit.journal import filesystem
from proxy.clock import SystemClock
from proxy.errors import SettingsError
from proxy.metrics import Metrics
from proxy.runtime.core import MAIN_SLOT, open_core, worker_slot
from proxy.settings import Audit, Journal, Settings


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "filesystem", lambda path, mounts: "tmpfs")


def changed(settings: Settings, unsafe: str = "refuse", ack: str = "local") -> Settings:
    update = {
        "journal": Journal.model_validate({"unsafe_filesystem": unsafe}),
        "audit": Audit.model_validate({"ack": ack}),
    }
    return settings.model_copy(update=update)


@pytest.mark.parametrize("slot", [MAIN_SLOT, worker_slot(1)])
async def test_nothing_is_opened_on_a_journal_in_memory(
    settings: Settings, in_memory: None, slot: str
) -> None:
    before = sorted((settings.data_dir / "journal").rglob("*"))
    with pytest.raises(SettingsError, match="is on tmpfs"):
        async with open_core(
            changed(settings), SystemClock(), Metrics(), slot=slot, main=slot == MAIN_SLOT
        ):
            pass
    assert sorted((settings.data_dir / "journal").rglob("*")) == before


@pytest.mark.parametrize("wanted", [{"unsafe": "allow"}, {"ack": "replicated"}])
async def test_whoever_says_so_may_and_is_warned(
    settings: Settings, in_memory: None, capsys: pytest.CaptureFixture[str], wanted: dict[str, str]
) -> None:
    async with open_core(
        changed(settings, **wanted), SystemClock(), Metrics(), slot=MAIN_SLOT, main=True
    ):
        pass
    assert "is on tmpfs: what is there is gone with the next restart." in capsys.readouterr().out


async def test_the_state_is_recorded_and_its_space_is_watched(settings: Settings) -> None:
    metrics = Metrics()
    async with open_core(settings, SystemClock(), metrics, slot=MAIN_SLOT, main=True) as core:
        ratio = metrics.registry.get_sample_value("kubewitness_journal_free_ratio")
        assert ratio is not None
        assert 0 < ratio <= 1
        core.gate.report("database", Level.CLOSED, "away")
        assert core.trouble() == "away"
        core.gate.report("database", Level.OK)
        assert core.trouble() == ""
    lines = [
        json.loads(line)
        for path in sorted((settings.data_dir / "journal" / MAIN_SLOT).glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]
    states = [line["outcome"] for line in lines if line.get("action") == "audit.state"]
    assert states[-2:] == ["closed", "ok"]
