"""Acts whose events a test can look at."""

from proxy.audit.acts import PROXY, Actor, Acts
from proxy.audit.event import SystemEvent
from proxy.clock import Clock, ManualClock
from proxy.errors import UnavailableError


class Written:
    """Where events go; nothing is taken while it is `full`."""

    def __init__(self) -> None:
        self.events: list[SystemEvent] = []
        self.full = False

    async def write(self, event: SystemEvent) -> None:
        if self.full:
            raise UnavailableError("no space")
        self.events.append(event)

    def acts(self, clock: Clock | None = None, actor: Actor = PROXY) -> Acts:
        return Acts(self.write, clock or ManualClock(), actor)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Of each: action, target, outcome."""
        return [(item.action, item.target, item.outcome) for item in self.events]
