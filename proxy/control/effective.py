"""The route of the settings: what this server runs with, without what is secret."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from proxy.control.entry.route import Act, Route
from proxy.settings import Settings, database_place
from proxy.state.permission import Permission

_DATABASE: Final = "database"


class SettingItem(msgspec.Struct, frozen=True):
    """One setting, as it holds."""

    name: str
    """As the settings file has it: `journal.deadline`."""
    value: Any
    """Of a database URL only the place: hosts and ports."""
    default: bool
    """Whether it is what holds when nobody says anything."""
    description: str


class SettingList(msgspec.Struct, frozen=True):
    """Every setting, in the order of their documentation."""

    items: tuple[SettingItem, ...]


async def list_settings(act: Act) -> SettingList:
    """The settings of the process that answers."""
    act.require(Permission.LOOK_AT_SETTINGS)
    return SettingList(tuple(effective(act.services.settings)))


def effective(settings: Settings) -> Iterator[SettingItem]:
    """Each setting of `settings`. Nothing in them is secret but what a database's URL may hold."""
    yield from _walk(settings, "")


def _walk(model: BaseModel, above: str) -> Iterator[SettingItem]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{above}{name}.")
            continue
        usual = value == field.get_default(call_default_factory=True)
        yield SettingItem(f"{above}{name}", _shown(name, value), usual, field.description or "")


def _shown(name: str, value: object) -> object:
    if name == _DATABASE and value:
        return database_place(str(value))
    return str(value) if isinstance(value, Path) else value


ROUTES = (
    Route(
        "GET", "/settings", "listSettings", "The settings that hold.", list_settings,
        response=SettingList,
    ),
)  # fmt: skip
