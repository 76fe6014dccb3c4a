"""Authorities that replicas hand to each other: what a rotation at one of them made.

The key is sealed with the key of the state, bound to its certificate: who can write the table and
nothing else can make nobody trust another authority.
"""

from typing import Final

import msgspec
from sqlalchemy import insert, select

from proxy.clock import Clock
from proxy.state import tables
from proxy.state.retention import Changing, Reading
from proxy.state.sealing import SecretBox

_CONTEXT: Final = "authority "


class SharedAuthority(msgspec.Struct, frozen=True):
    """One authority, with its key."""

    fingerprint: str
    """SHA-256 of the certificate's DER, lower-case hex."""
    certificate: str
    """PEM."""
    sealed: bytes
    """Its key (PEM), encrypted with the key of the state."""
    made_at: float


class SharedAuthorities:
    """The authorities in the state's database. Each method is one transaction."""

    def __init__(self, reading: Reading, changing: Changing, box: SecretBox, clock: Clock) -> None:
        self._reading = reading
        self._changing = changing
        self._box = box
        self._clock = clock

    async def share(self, fingerprint: str, certificate: bytes, key: bytes) -> None:
        """Hand an authority (PEM) to all replicas; each takes it over within seconds.

        Raises UnavailableError.
        """
        values = SharedAuthority(
            fingerprint,
            certificate.decode("ascii"),
            self._box.seal(_CONTEXT + fingerprint, key),
            self._clock.now(),
        )
        async with self._changing() as (connection, _):
            await connection.execute(
                insert(tables.authorities).values(msgspec.structs.asdict(values))
            )

    async def list(self) -> list[SharedAuthority]:
        """All that were ever shared, the oldest first. Raises UnavailableError."""
        async with self._reading() as (connection, _):
            query = select(tables.authorities).order_by(tables.authorities.c.made_at)
            return [SharedAuthority(**row) for row in (await connection.execute(query)).mappings()]

    def key(self, authority: SharedAuthority) -> bytes:
        """Its key (PEM). Raises SealError when it is not sealed with ours, for that certificate."""
        return self._box.unseal(_CONTEXT + authority.fingerprint, authority.sealed)
