"""Routes about the server itself: its version, who the caller is to it, its own description."""

import msgspec

from proxy import __version__
from proxy.clock import rfc3339
from proxy.control.route import Act, Route


class Version(msgspec.Struct, frozen=True):
    """What runs here."""

    version: str


class Whoami(msgspec.Struct, frozen=True, rename="camel"):
    """The caller, as the server sees it."""

    user: str
    groups: tuple[str, ...]
    serial: str
    usage: str
    not_after: str
    source: str
    """Address of the caller's connection."""


async def version(act: Act) -> Version:
    """The version of the proxy."""
    del act
    return Version(__version__)


async def whoami(act: Act) -> Whoami:
    """Who the certificate says the caller is."""
    credential = act.credential
    return Whoami(
        user=credential.user,
        groups=credential.groups,
        serial=credential.serial,
        usage=credential.usage.value,
        not_after=rfc3339(credential.not_after),
        source=act.source,
    )


ROUTES = (
    Route("GET", "/version", "getVersion", "The version of the proxy.", version, response=Version),
    Route("GET", "/whoami", "whoAmI", "Who the caller is.", whoami, response=Whoami),
)
