from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path / "data") as running:
        yield running
