"""The sandbox's memory on disk, so that a second start finds what the first one left.

One JSON file, readable by its owner only, replaced as a whole: a crash leaves the old or the new one,
never half of either.
"""

import asyncio
import json
from pathlib import Path
from typing import Final

from proxy.errors import InvalidInputError
from proxy.files import replace_private
from proxy.sandbox.objects import Object
from proxy.sandbox.store import Store

#: Seconds of quiet that end a burst of changes and start a save.
QUIET: Final = 0.3
FORMAT: Final = "kubewitness-sandbox/1"


def load(store: Store, path: Path) -> bool:
    """Fill `store` from `path`; false when there is no such file.

    Raises InvalidInputError when the file is not a saved sandbox.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    try:
        saved = json.loads(text)
        _check_format(saved)
        store.load(saved)
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is not a saved sandbox cluster."
        raise InvalidInputError(message, hint="Delete the file to start with a new one.") from error
    return True


def _check_format(saved: Object) -> None:
    if saved["format"] != FORMAT:
        raise ValueError(saved["format"])


def save(store: Store, path: Path) -> None:
    """Replace `path` by the present state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_private(path, _text(store))


def _text(store: Store) -> bytes:
    return json.dumps({"format": FORMAT, **store.dump()}).encode()


async def keep(store: Store, path: Path) -> None:
    """Save after every burst of changes, until cancelled."""
    with store.subscribe() as changes:
        while True:
            await changes.get()
            await asyncio.sleep(QUIET)
            while not changes.empty():
                changes.get_nowait()
            await asyncio.to_thread(replace_private, path, _text(store))
