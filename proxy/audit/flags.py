"""Flags: the words for what about a use of a credential is out of the ordinary.

A flag is a reason to look, never a verdict: nothing is refused for it. The words are stored and
shown, so they never change.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

SUSPICIOUS: Final = "kubewitness.io/suspicious"
"""Annotation of a call's record, and `suspicious` in the detail of a system event: the flags, with
commas between them."""


class Flag(StrEnum):
    """What is out of the ordinary; `proxy.authn.suspicion` says when exactly."""

    NEW_ADDRESS = "new-address"
    """From an address that the user was never seen at."""
    NEW_NETWORK = "new-network"
    """From a network that the user was never seen in."""
    TWO_NETWORKS = "two-networks"
    """One credential, used from two networks at once."""
    LONG_SILENCE = "long-silence"
    """The first use of a credential, or by a user, after a long time."""
    OFF_HOURS = "off-hours"
    """By a person, outside the working hours."""
    DENIAL_BURST = "denial-burst"
    """Many of a credential's calls were refused within a minute."""
    SECRET_BURST = "secret-burst"  # noqa: S105  # a word
    """Secrets were read many times within a minute."""
    SECRET_LIST = "secret-list"  # noqa: S105  # a word
    """The secrets of all namespaces of a cluster were listed or watched."""


def joined(flags: Iterable[Flag]) -> str:
    """Flags as a record has them."""
    return ",".join(flags)
