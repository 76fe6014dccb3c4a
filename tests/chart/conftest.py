"""Helm is there before the first test: building it takes longer than a test may."""

import pytest

from tests.chart import helm
from tests.cluster.build import BuildError


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing once tests of the chart are going to run."""
    if session.config.option.collectonly:
        return
    if any("tests/chart" in item.path.as_posix() for item in session.items):
        try:
            helm.program()
        except BuildError as error:
            raise pytest.UsageError(str(error)) from error
