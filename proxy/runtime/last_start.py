"""What the last start of this data directory ran with, so that the next one can say what changed.

A setting is changed by editing a file or a flag, which no control plane sees. So each start compares
and puts on record what differs, before it serves by it. Of what is secret only that it changed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from proxy.audit.acts import Acts
from proxy.control.effective import effective
from proxy.data_dir import DataDir
from proxy.files import replace_private
from proxy.settings import Settings

ACTION: Final = "settings.change"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LastStart:
    """The settings of a start, as they may be shown."""

    settings: Mapping[str, Any]
    """By name, those that people may see whole; of a database only its place."""
    salt: str
    """Hex. Keeps what is secret from being looked up by its digest."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """By name: digests of what `settings` does not show."""


async def record_settings(data: DataDir, settings: Settings, acts: Acts) -> None:
    """Put on record what differs from the last start, or, at the first, all of it; then keep it.

    Raises UnavailableError when it cannot be recorded. What cannot be kept is recorded again at the
    next start.
    """
    last = _read(data)
    now = _present(settings, last.salt if last is not None else os.urandom(16).hex())
    if last is None:
        first = {
            "after": now.settings,
            "reason": "the first start, or what the last one kept is lost",
        }
        async with acts.act(ACTION, data.path.name, first):
            _keep(data, now)
        return
    usual = {item.name for item in effective(settings) if item.default}
    differ = [name for name in now.settings if _differs(name, last, now, usual)]
    gone = [name for name in last.settings if name not in now.settings]
    secret = [
        name
        for name, digest in now.secrets.items()
        if name not in differ and last.secrets.get(name) != digest
    ]
    if not (differ or gone or secret):
        return
    detail: dict[str, Any] = {
        "before": {name: last.settings.get(name) for name in (*differ, *gone)},
        "after": {name: now.settings[name] for name in differ},
    }
    if secret:
        detail["secretChanged"] = secret
    async with acts.act(ACTION, data.path.name, detail):
        _keep(data, now)


def _differs(name: str, last: LastStart, now: LastStart, usual: set[str]) -> bool:
    """Whether a setting changed; one that is new in this version and not set did not."""
    if name not in last.settings:
        return name not in usual
    return bool(last.settings[name] != now.settings[name])


def _present(settings: Settings, salt: str) -> LastStart:
    # Through JSON, as it is kept: a list there is no tuple.
    shown = json.loads(json.dumps({item.name: item.value for item in effective(settings)}))
    secrets = {"database": _digest(settings.database, salt)} if settings.database else {}
    return LastStart(shown, salt, secrets)


def _digest(secret: str, salt: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), n=1 << 14, r=8, p=1).hex()


def _read(data: DataDir) -> LastStart | None:
    """None before the first start, and when the file is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(data.last_start.read_bytes())
        settings, secrets = dict(found["settings"]), dict(found["secrets"])
        return LastStart(settings, bytes.fromhex(found["salt"]).hex(), secrets)
    return None


def _keep(data: DataDir, now: LastStart) -> None:
    kept = {"settings": now.settings, "salt": now.salt, "secrets": now.secrets}
    try:
        replace_private(data.last_start, json.dumps(kept, indent=1).encode() + b"\n")
    except OSError as error:
        _log.warning("what this start ran with cannot be kept", error=str(error))
