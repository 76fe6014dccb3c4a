"""The settings that hold, without what is secret."""

from pathlib import Path

import pytest

from proxy.cli.client import Client
from proxy.cli.settings_table import rows
from proxy.control.effective import effective
from proxy.errors import DeniedError
from proxy.settings import Journal, Settings
from tests.control.organization import SHOP, found
from tests.control.plane import Plane


def test_each_setting_is_there_once() -> None:
    assert [item.name for item in effective(Settings())] == [row.name for row in rows()]
    assert all(item.default for item in effective(Settings()))


def test_of_the_database_only_its_place() -> None:
    settings = Settings(
        database="postgresql://kw:hunter2@db.example:5432/kw?sslmode=require",
        data_dir=Path("/var/lib/x"),
        journal=Journal(deadline=2.5),
    )
    found_ = {item.name: item for item in effective(settings)}
    assert found_["database"].value == "db.example:5432"
    assert "hunter2" not in str(found_)
    assert (found_["data_dir"].value, found_["data_dir"].default) == ("/var/lib/x", False)
    assert (found_["journal.deadline"].value, found_["journal.deadline"].default) == (2.5, False)
    assert found_["workers"].default is True


def test_they_are_the_organizations(plane: Plane) -> None:
    found(plane)
    named = {item["name"] for item in plane.client().get("/settings")["items"]}
    assert {"journal.deadline", "access.unregistered"} & named
    with pytest.raises(DeniedError, match=r"settings\.look"):
        Client(plane.granted("boss", "project-admin", SHOP)).get("/settings")
