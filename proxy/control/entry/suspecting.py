"""Uses of the control plane as `proxy.authn.suspicion` sees them.

What is out of the ordinary is a system event of its own, under the audit id of the act, and durable
before anything is done or shown. Denials count, whether at the door or in the act.
"""

from typing import Final

from proxy.audit.event import SystemEvent, body
from proxy.authn.suspicion import Use
from proxy.clock import rfc3339
from proxy.control.entry.caller import Known
from proxy.control.entry.route import Route
from proxy.control.entry.services import Services
from proxy.state.access import UserKind

ACTION: Final = "credential.suspicious"


async def suspect(
    route: Route, services: Services, known: Known, source: str, audit_id: str
) -> None:
    """Look at one use; raises UnavailableError when it is flagged and cannot be recorded."""
    serial, issued_at = name_of(known)
    user = services.watcher.current.access.users.get(known.user)
    machine = user is not None and user.kind is UserKind.SERVICE
    flags = services.suspicion.look(Use(known.user, serial, issued_at, source, machine=machine))
    await _record(flags, route, services, (known.user, serial), source, audit_id)


async def denied(
    route: Route, services: Services, used: tuple[str, str], source: str, audit_id: str
) -> None:
    """Count a denial; raises UnavailableError when it makes a burst and that cannot be recorded.

    `used` is a user and their credential, as `name_of` names it; empty counts for nobody.
    """
    flags = services.suspicion.denied(used[1])
    await _record(flags, route, services, used, source, audit_id)


async def _record(
    flags: str,
    route: Route,
    services: Services,
    used: tuple[str, str],
    source: str,
    audit_id: str,
) -> None:
    if not flags:
        return
    user, serial = used
    event = SystemEvent(
        event_id=audit_id,
        stage_timestamp=rfc3339(services.clock.now()),
        action=ACTION,
        actor=user,
        source_ips=(source,),
        target=serial,
        detail={"suspicious": flags, "route": f"{route.method} {route.path}"},
    )
    await services.journal.append(body(event))


def name_of(known: Known) -> tuple[str, float]:
    """What somebody logged in with, as sightings name it, and since when there is such a thing.

    An API token counts before the certificate it came with: it may be anywhere.
    """
    if known.token is not None:
        return f"token {known.token.id}", known.token.created_at
    assert known.credential is not None  # noqa: S101  # nobody is known by nothing
    return known.credential.serial, known.credential.issued_at
