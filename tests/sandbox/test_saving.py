from pathlib import Path

import pytest

from proxy.errors import InvalidInputError
from proxy.sandbox import Sandbox
from proxy.sandbox.kinds import CONFIG_MAP, NODE


async def test_a_second_start_finds_what_the_first_left(tmp_path: Path) -> None:
    path = tmp_path / "state" / "sandbox.json"
    first = Sandbox(path)
    await first.start()
    made = first.registry.create(CONFIG_MAP, "shop", {"metadata": {"name": "kept"}})
    await first.stop()
    assert path.stat().st_mode & 0o777 == 0o600
    second = Sandbox(path)
    await second.start()
    try:
        assert second.registry.require(CONFIG_MAP, "shop", "kept") == made
        assert len(second.registry.store.items(NODE)) == 2
        assert second.registry.store.revision >= first.registry.store.revision
    finally:
        await second.stop()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "kubewitness-sandbox/9"}'])
async def test_a_file_that_is_no_sandbox_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sandbox.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="Delete the file"):
        await Sandbox(path).start()
    assert path.read_text() == text
