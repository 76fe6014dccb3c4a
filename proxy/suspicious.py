"""Settings of what counts as out of the ordinary: a group of `proxy.settings`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.hours import WorkingHours
from proxy.settings_group import Group


def _hours(value: str) -> str:
    if value:
        WorkingHours.parse(value)
    return value


class Suspicious(Group):
    """Uses of credentials that are out of the ordinary: flagged on the record, never refused."""

    enabled: bool = Field(
        default=True, description="Whether uses are looked at, and what was seen is kept, at all."
    )
    ipv4_prefix: int = Field(
        default=24, ge=8, le=32, description="Length of what counts as one network of IPv4."
    )
    ipv6_prefix: int = Field(
        default=64, ge=16, le=128, description="Length of what counts as one network of IPv6."
    )
    settled_days: int = Field(
        default=7,
        ge=0,
        description="Days without another address of a network until a new one there is flagged; "
        "0: each is, behind pools of addresses too.",
    )
    two_networks_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Seconds within which two networks are at once, for one credential; 0: never.",
    )
    silence_days: int = Field(
        default=30,
        ge=0,
        description="Days without use after which the next one is flagged; 0: never.",
    )
    hours: Annotated[str, AfterValidator(_hours)] = Field(
        default="",
        description="Working hours of people, such as `Mon-Fri 08:00-18:00 Europe/Berlin`; empty: "
        "nobody's are known.",
    )
    denials: int = Field(
        default=30,
        ge=0,
        description="Refusals of a credential in a minute that are a burst; 0: none.",
    )
    secret_reads: int = Field(
        default=30,
        ge=0,
        description="Reads of secrets in a minute that are a burst, a list counted as three; 0: none.",
    )
    secret_lists: bool = Field(
        default=True,
        description="Whether listing or watching the secrets of all namespaces is flagged.",
    )
