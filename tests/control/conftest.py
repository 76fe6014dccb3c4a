from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One for all tests of a module that are refused before anything changes."""
    with Plane(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running
