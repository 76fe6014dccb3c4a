"""Set-up common to all tests."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.postgres import Database, Postgres, temporary_database

# Python 3.11 to 3.13 make a loop when one is asked for and none was ever set. The looptime plugin
# asks before each test, and the loop it gets in front of the first one would never be closed.
asyncio.set_event_loop(None)

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    """Commands set up logging on the stderr they find, which for a test is gone soon after."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL. Its roles are shared by all tests of a run; databases are not."""
    with Postgres() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A fresh, empty database on that server."""
    with temporary_database(postgres) as database:
        yield database
