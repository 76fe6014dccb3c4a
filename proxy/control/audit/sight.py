"""What of the log a caller may see, also while a look goes on, and what the record says of it.

One's own calls and acts always; those of others where one was granted the permission that the look
is about.
"""

from typing import Final

import msgspec

from proxy.audit.index.query import Within
from proxy.control.entry.route import Act
from proxy.state.access import ORGANIZATION, Access
from proxy.state.permission import Permission

LOOK: Final = 0.25
"""Seconds between looks of what goes on at whether it may, and at what it may show."""
_SAID: Final = 100
"""Clusters and namespaces that the record of a look names."""


def seen(act: Act, permission: Permission = Permission.LOOK_AT_AUDIT) -> Within | None:
    """Which records the caller may see now; None when all."""
    access, now = act.access, act.services.clock.now()
    known = act.known.by_now(access)
    within = known.within(access, permission, now)
    if not known.holds(access, permission, now, ORGANIZATION):
        # Where somebody may export only a part, they may not export what is of no part.
        within = msgspec.structs.replace(within, system=False)
    return None if within.calls and within.system else within


def said(within: Within | None) -> list[str]:
    """What the record of a look says of what was visible to it."""
    if within is None:
        return ["everything"]
    found = ["own"]
    if within.calls:
        found.append("calls")
    else:
        places = [f"cluster/{cluster}" for cluster in within.clusters]
        places += [f"namespace/{cluster}/{name}" for cluster, name in within.namespaces]
        found += places[:_SAID]
        if len(places) > _SAID:
            found.append(f"and {len(places) - _SAID} more")
    return [*found, "system"] if within.system else found


class Sight:
    """What a caller may see, for a look that goes on for long: it follows their grants."""

    def __init__(self, act: Act, permission: Permission = Permission.LOOK_AT_AUDIT) -> None:
        self._act = act
        self._permission = permission
        self._access: Access | None = None
        self._looked = 0.0
        self._within: Within | None = None

    def now(self) -> Within | None:
        """See `seen`. Not older than LOOK, and than the grants that are known here."""
        time, access = self._act.services.clock.monotonic(), self._act.access
        if access is not self._access or time - self._looked >= LOOK:  # grants end by themselves
            self._access, self._looked = access, time
            self._within = seen(self._act, self._permission)
            self._act.detail["visible"] = said(self._within)
        return self._within
