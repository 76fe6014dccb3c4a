"""Calls for a simulated journal: real events, the same ones each time for the same seed."""

from random import Random
from typing import Final

from proxy.audit.event import Progress, ResponseStatus, Stage, describe, stage
from tests.audit.journals import NOW, a_call

_PLACEHOLDER: Final = "00000000-0000-7000-8000-000000000000"


def _description(agent: int) -> bytes:
    return describe(a_call(audit_id=_PLACEHOLDER, user_agent="k" * agent))


_DESCRIPTIONS: Final = [_description(length) for length in (0, 20, 20, 90, 150, 700, 2600)]
_WEIGHTS: Final = [4, 6, 6, 4, 3, 2, 1]


class Calls:
    """Clients at work: calls begin, go on, and end."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._open: dict[str, bytes] = {}

    def batch(self) -> list[bytes]:
        """The bodies of what one batch takes along: one to four events."""
        return [self._event() for _ in range(self._random.choice((1, 1, 1, 2, 2, 3, 4)))]

    def finish(self) -> list[bytes]:
        """The outcomes of all calls that are open."""
        progress = Progress(ResponseStatus(200))
        bodies = [
            stage(description, Stage.RESPONSE_COMPLETE, NOW, progress)
            for description in self._open.values()
        ]
        self._open.clear()
        return bodies

    def forget(self) -> None:
        """The process died, and its calls with it."""
        self._open.clear()

    def _event(self) -> bytes:
        random = self._random
        if not self._open or random.random() < 0.45:
            text = f"{random.getrandbits(128):032x}"
            audit_id = f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:]}"
            description = random.choices(_DESCRIPTIONS, _WEIGHTS)[0]
            description = description.replace(_PLACEHOLDER.encode(), audit_id.encode(), 1)
            self._open[audit_id] = description
            return stage(description, Stage.REQUEST_RECEIVED, NOW)
        audit_id = random.choice(list(self._open))
        progress = Progress(ResponseStatus(random.choice((200, 201, 404))))
        if random.random() < 0.15:
            return stage(self._open[audit_id], Stage.RESPONSE_STARTED, NOW, progress)
        name = Stage.PANIC if random.random() < 0.1 else Stage.RESPONSE_COMPLETE
        return stage(self._open.pop(audit_id), name, NOW, progress)
