"""Routes about the server itself: its version, who the caller is to it, its own description."""

import msgspec

from proxy import __version__
from proxy.clock import rfc3339
from proxy.control.entry.route import Act, Route


class Version(msgspec.Struct, frozen=True):
    """What runs here."""

    version: str


class Whoami(msgspec.Struct, frozen=True, rename="camel"):
    """The caller, as the server sees it."""

    user: str
    groups: tuple[str, ...]
    """Those that count: of a registered user, the registry's."""
    serial: str
    """Of the certificate; empty when an API token alone says who they are."""
    usage: str
    not_after: str
    """When what they logged in with ends."""
    source: str
    """Address of the caller's connection."""
    token: str = ""
    """Id of the API token."""


async def version(act: Act) -> Version:
    """The version of the proxy."""
    del act
    return Version(__version__)


async def whoami(act: Act) -> Whoami:
    """Who the caller is, by certificate or token."""
    credential, token = act.credential, act.known.token
    ends = [item.not_after for item in (credential, token) if item is not None]
    return Whoami(
        user=act.user,
        groups=act.known.caller.groups,
        serial="" if credential is None else credential.serial,
        usage="" if credential is None else credential.usage.value,
        not_after=rfc3339(min(ends)),
        source=act.source,
        token="" if token is None else token.id,
    )


ROUTES = (
    Route("GET", "/version", "getVersion", "The version of the proxy.", version, response=Version),
    Route("GET", "/whoami", "whoAmI", "Who the caller is.", whoami, response=Whoami),
)
