"""Fixtures of the composition root's tests."""

from pathlib import Path

import pytest

from proxy.settings import Settings
from tests.runtime.processes import initialised, own_environment, start

__all__ = ["own_environment", "start"]


@pytest.fixture
def settings(tmp_path: Path, own_environment: None) -> Settings:
    """Of an initialised data directory."""
    return initialised(tmp_path / "data")
