"""The sandbox's memory: objects, their versions, and who wants to hear of changes.

One revision counter for everything, as etcd has. All methods run on the event loop and none awaits,
so each is atomic. The objects handed out are the stored ones: readers must not change them.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from proxy.sandbox.failures import expired
from proxy.sandbox.kinds import Kind, by_name
from proxy.sandbox.objects import Object, name_of, namespace_of

#: Changes remembered for watches that start in the past; enough for minutes of a busy demo.
HISTORY: Final = 4096


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object: what happened, the object after it, and before it if there was one."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind
    object: Object
    previous: Object | None
    revision: int


class Store:
    """Objects by kind, namespace and name, with a history of changes."""

    def __init__(self, *, history: int = HISTORY) -> None:
        self.revision = 1
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque(maxlen=history)
        self._horizon = 1
        self._queues: set[asyncio.Queue[Change]] = set()

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(kind, {}).get((namespace, name))

    def items(self, kind: Kind, namespace: str = "") -> list[Object]:
        """All objects of `kind`, of one namespace if given, ordered by namespace and name."""
        found = sorted(self._objects.get(kind, {}).items())
        return [item for (home, _), item in found if not namespace or home == namespace]

    def put(self, kind: Kind, item: Object) -> Object:
        """Store `item` under its name with the next resource version and tell the watchers.

        The store owns `item` from now on.
        """
        shelf = self._objects.setdefault(kind, {})
        key = (namespace_of(item), name_of(item))
        previous = shelf.get(key)
        self.revision += 1
        item["metadata"]["resourceVersion"] = str(self.revision)
        shelf[key] = item
        self._tell(Change("MODIFIED" if previous else "ADDED", kind, item, previous, self.revision))
        return item

    def remove(self, kind: Kind, item: Object) -> Object:
        """Take the object of this name out and tell the watchers; gives its last state."""
        last = self._objects[kind].pop((namespace_of(item), name_of(item)))
        self.revision += 1
        version = {"resourceVersion": str(self.revision)}
        gone = {**last, "metadata": {**last["metadata"], **version}}
        self._tell(Change("DELETED", kind, gone, last, self.revision))
        return gone

    def since(self, revision: int) -> list[Change]:
        """Every change after `revision`. Raises ApiError 410 when that is no longer remembered."""
        if revision < self._horizon:
            message = f"too old resource version: {revision} ({self._horizon})"
            raise expired(message)
        return [change for change in self._history if change.revision > revision]

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[Change]]:
        """A queue that receives every change from now until the block ends."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def dump(self) -> Object:
        """Everything that `load` needs, ready for JSON."""
        items = [item for shelf in self._objects.values() for item in shelf.values()]
        return {"revision": self.revision, "items": items}

    def load(self, saved: Object) -> None:
        """Take the place of an empty store with what `dump` gave.

        Objects of kinds no longer served are dropped. Raises KeyError, TypeError or ValueError
        when `saved` is not of that shape.
        """
        self.revision = self._horizon = int(saved["revision"])
        for item in saved["items"]:
            kind = by_name(item["apiVersion"], item["kind"])
            if kind is not None:
                key = (namespace_of(item), name_of(item))
                self._objects.setdefault(kind, {})[key] = item

    def _tell(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self._horizon = self._history[0].revision
        self._history.append(change)
        for queue in self._queues:
            queue.put_nowait(change)
