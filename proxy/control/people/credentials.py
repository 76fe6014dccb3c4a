"""Routes of credentials: issue, renew, list, revoke.

The private key is made by whoever will use it; only a signing request comes here. A certificate is
recorded in the state before it is handed out, so one we do not know cannot exist.
"""

from functools import partial
from typing import Annotated, Final

import msgspec

from proxy.clock import rfc3339
from proxy.control.entry.fields import (
    Name,
    Names,
    PagedQuery,
    Reason,
    Text,
    page_of_seen,
)
from proxy.control.entry.route import About, Act, Detail, Route, reason_of
from proxy.control.entry.seeing import all_of_it, seen_clusters
from proxy.control.people.issuing import (
    ALL,
    check_issue,
    check_revoke,
    reachable_clusters,
    seen_credentials,
)
from proxy.errors import DeniedError, NotFoundError
from proxy.pki.authority import Issued
from proxy.pki.ttl import parse_ttl
from proxy.state.permission import Permission
from proxy.state.snapshot import Credential, Usage

RENEWED_TTL: Final = 3600
"""Seconds a renewed certificate lives when the plugin does not ask for less."""

CSR = Annotated[str, msgspec.Meta(min_length=1, max_length=65536)]


class IssueRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who gets a certificate, for what, and for how long."""

    user: Name
    csr: CSR
    """PKCS #10 in PEM; only its key is used."""
    groups: Names = ()
    """Of somebody who is not registered; a registered user's are the registry's."""
    clusters: Names = ()
    """Clusters it may reach; `*` means all, now and later. Left out for a registered user: wherever
    their grants reach."""
    ttl: Text = ""
    """Such as `8h`; empty means the server's default."""
    usage: Usage = Usage.KUBECTL
    """`kubectl`; `renew`, which may only get itself others; `admin`, for the control plane."""
    reason: Reason = ""


class RenewRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A new key for the caller's own identity."""

    csr: CSR
    """PKCS #10 in PEM; only its key is used."""
    ttl: Text = ""
    """Such as `30m`; an hour at most, and never longer than what it renews."""


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a credential is revoked."""

    reason: Reason = ""


class RevokeUserRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose credentials are all revoked, and why."""

    user: Name
    reason: Reason = ""


class IssuedCredential(msgspec.Struct, frozen=True, rename="camel"):
    """A certificate just made, and what a kubeconfig needs beside the key."""

    serial: str
    user: str
    groups: tuple[str, ...]
    clusters: tuple[str, ...]
    usage: Usage
    not_before: str
    not_after: str
    certificate: str
    """PEM, with intermediates."""
    authority: str
    """PEM of what the client should trust."""
    server: str
    """`host:port` of the data plane."""
    reachable: tuple[str, ...]
    """Names of the clusters it reaches now; empty for the control plane's own credentials."""


class CredentialItem(msgspec.Struct, frozen=True, rename="camel"):
    """A credential as it is listed. There is no secret in it."""

    serial: str
    user: str
    groups: tuple[str, ...]
    clusters: tuple[str, ...]
    usage: Usage
    status: str
    """`valid`, `expired` or `revoked`."""
    issued_at: str
    not_after: str
    issued_by: str
    revoked_at: str = ""
    revoked_reason: str = ""


class CredentialList(msgspec.Struct, frozen=True):
    """Credentials, newest first."""

    items: tuple[CredentialItem, ...]
    next: str = ""
    """Cursor of the next page; empty at the end."""


class RevokedAccess(msgspec.Struct, frozen=True):
    """What a user logged in with until now."""

    items: tuple[CredentialItem, ...]
    tokens: tuple[str, ...]
    """Ids of API tokens."""


class CredentialQuery(PagedQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which credentials."""

    user: Text = ""
    serial: Text = ""
    all: bool = False
    """Also those that expired or were revoked."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10000, description="Most items of a page.")] = 1000


async def list_credentials(act: Act) -> CredentialList:
    """The caller's own credentials, and those of users in their reach."""
    query = act.query_as(CredentialQuery)
    read = partial(
        act.services.store.credentials,
        serial=query.serial.lower() or None,
        user=query.user or None,
        ended=query.all or bool(query.serial),
    )
    shown, following = await page_of_seen(read, seen_credentials(act), _place, query)
    now = act.services.clock.now()
    return CredentialList(tuple(_shown(act, item, now) for item in shown), following)


def _place(credential: Credential) -> tuple[float, str]:
    return credential.issued_at, credential.serial


async def issue(act: Act) -> IssuedCredential:
    """Make a certificate and remember it."""
    wanted = act.body_as(IssueRequest)
    groups, clusters = check_issue(act, wanted.user, wanted.groups, wanted.clusters, wanted.usage)
    ttl = parse_ttl(wanted.ttl or act.services.settings.credentials.default_ttl)
    issued = act.services.authorities().issue(
        wanted.csr.encode(), user=wanted.user, groups=groups, ttl=ttl
    )
    act.detail["groups"], act.detail["clusters"] = list(groups), list(clusters)
    return await _record(act, issued, clusters, wanted.usage)


async def renew(act: Act) -> IssuedCredential:
    """A short-lived certificate with the identity of the caller's own credential."""
    wanted, own = act.body_as(RenewRequest), act.credential
    if own is None:
        raise DeniedError("Only a credential renews itself.")
    user = act.access.users.get(own.user)
    groups = own.groups if user is None else user.groups
    ttl = min(parse_ttl(wanted.ttl), RENEWED_TTL) if wanted.ttl else RENEWED_TTL
    left = own.not_after - act.services.clock.now()
    issued = act.services.authorities().issue(
        wanted.csr.encode(), user=own.user, groups=groups, ttl=min(ttl, left)
    )
    known = act.services.watcher.current
    # What is issued now would reach a cluster that has taken over a name since our own was issued.
    clusters = tuple(name for name in own.clusters if name == ALL or known.reaches(own, name))
    made = await _record(act, issued, clusters, Usage.KUBECTL)
    # `_record` has read the state anew. Either our own revocation is in it, or it came later and
    # whoever revoked us finds the credential just made.
    now = act.services.watcher.current.credentials.get(own.serial)
    if now is None or now.revoked_at is not None:
        await act.services.store.revoke(serial=issued.serial, reason="renewed while being revoked")
        raise DeniedError(f"The credential {own.serial} of {own.user} was revoked.")
    return made


async def _record(
    act: Act, issued: Issued, clusters: tuple[str, ...], usage: Usage
) -> IssuedCredential:
    services = act.services
    await services.store.record_credential(
        Credential(
            serial=issued.serial,
            user=issued.user,
            groups=issued.groups,
            clusters=clusters,
            usage=usage,
            issued_at=services.clock.now(),
            not_after=issued.not_after,
            fingerprint=issued.fingerprint,
            issued_by=_issued_by(act),
        )
    )
    act.detail.update({"serial": issued.serial, "notAfter": rfc3339(issued.not_after)})
    # So that the very next call with it is known here; other processes follow within their tick.
    snapshot = await services.watcher.refresh()
    reachable = reachable_clusters(snapshot, issued.user, issued.groups, clusters, services.clock)
    return IssuedCredential(
        serial=issued.serial,
        user=issued.user,
        groups=issued.groups,
        clusters=clusters,
        usage=usage,
        not_before=rfc3339(issued.not_before),
        not_after=rfc3339(issued.not_after),
        certificate=issued.pem.decode(),
        authority=services.authorities().bundle_pem().decode(),
        server=services.advertised(),
        reachable=reachable,
    )


async def revoke(act: Act) -> CredentialList:
    """Revoke one, and what it renewed; the next call is refused and open streams are cut."""
    reason = act.body_as(RevokeRequest).reason
    serial = act.param("serial").lower().lstrip("0")
    store = act.services.store
    known = await store.credentials(serial=serial, ended=True)
    if not known or not seen_credentials(act)(known[0]):
        raise NotFoundError(
            f"No credential has the serial {serial!r}.",
            hint="`kubewitness kubeconfig list` shows those there are.",
        )
    check_revoke(act, known[0].user)
    revoked = await store.revoke(serial=serial, reason=reason)
    for item in await _renewed_with(act, serial):
        revoked += await store.revoke(serial=item.serial, reason=reason)
    return await _revoked(act, revoked)


async def _renewed_with(act: Act, serial: str) -> list[Credential]:
    """What a renewing credential got itself: it must not outlive it."""
    store = act.services.store
    [own] = await store.credentials(serial=serial, ended=True)
    if own.usage is not Usage.RENEW:
        return []
    issuer = _issuer(own)
    return [
        item
        for item in await store.credentials(user=own.user, limit=100_000)
        if item.issued_by == issuer
    ]


def _issued_by(act: Act) -> str:
    """How the caller stands in `issued_by`: never as the machine itself does."""
    token = act.known.token
    if act.credential is None and token is not None:
        return f"{act.user} (token {token.id})"
    return _issuer(act.credential) if act.credential is not None else f"{act.user} ()"


def _issuer(credential: Credential) -> str:
    """How a credential stands in `issued_by` of those it made."""
    return f"{credential.user} ({credential.serial})"


async def revoke_user(act: Act) -> RevokedAccess:
    """Revoke all that a user logs in with: credentials of every usage, and API tokens."""
    wanted = act.body_as(RevokeUserRequest)
    check_revoke(act, wanted.user)
    ended = await act.services.store.people.revoke_access(
        wanted.user, by=act.user, reason=wanted.reason
    )
    act.detail["revokedTokens"] = ended.tokens
    revoked = await _revoked(act, ended.credentials)
    return RevokedAccess(revoked.items, tuple(ended.tokens))


async def _revoked(act: Act, revoked: list[Credential]) -> CredentialList:
    # Here it takes effect before we answer; other processes follow within their tick.
    await act.services.watcher.refresh()
    act.detail["revoked"] = [item.serial for item in revoked]
    now = act.services.clock.now()
    return CredentialList(tuple(item_of(item, now) for item in revoked))


def _shown(act: Act, credential: Credential, now: float) -> CredentialItem:
    """`credential` without names of clusters that the caller does not get to see."""
    item = item_of(credential, now)
    if credential.user == act.user or all_of_it(act, Permission.LOOK_AT_CREDENTIALS):
        return item
    seen = seen_clusters(act, Permission.LOOK_AT_CREDENTIALS)
    clusters = tuple(name for name in item.clusters if name == ALL or name in seen)
    return msgspec.structs.replace(item, clusters=clusters)


def item_of(credential: Credential, now: float) -> CredentialItem:
    """`credential` as it is listed at wall time `now`."""
    ended = "expired" if credential.not_after <= now else "valid"
    return CredentialItem(
        serial=credential.serial,
        user=credential.user,
        groups=credential.groups,
        clusters=credential.clusters,
        usage=credential.usage,
        status=ended if credential.revoked_at is None else "revoked",
        issued_at=rfc3339(credential.issued_at),
        not_after=rfc3339(credential.not_after),
        issued_by=credential.issued_by,
        revoked_at="" if credential.revoked_at is None else rfc3339(credential.revoked_at),
        revoked_reason=credential.revoked_reason,
    )


def _about_issue(act: Act) -> About:
    wanted = act.body_as(IssueRequest)
    detail: Detail = {
        "groups": list(wanted.groups),
        "clusters": list(wanted.clusters),
        "ttl": wanted.ttl,
        "usage": wanted.usage.value,
    }
    return About(wanted.user, detail | reason_of(act))


def _about_renew(act: Act) -> About:
    return About(act.user, {"ttl": act.body_as(RenewRequest).ttl})


def _about_revoke(act: Act) -> About:
    return About(act.param("serial"), {"reason": act.body_as(RevokeRequest).reason})


def _about_revoke_user(act: Act) -> About:
    wanted = act.body_as(RevokeUserRequest)
    return About(f"user {wanted.user}", {"reason": wanted.reason})


ROUTES = (
    Route(
        "GET", "/credentials", "listCredentials", "List credentials.", list_credentials,
        query=CredentialQuery, response=CredentialList,
    ),
    Route(
        "POST", "/credentials", "issueCredential", "Issue a credential.", issue,
        action="credential.issue", about=_about_issue,
        body=IssueRequest, response=IssuedCredential, status=201,
    ),
    Route(
        "POST", "/credentials/renew", "renewCredential",
        "Issue a short-lived credential with the identity of the caller's own.", renew,
        action="credential.renew", about=_about_renew,
        body=RenewRequest, response=IssuedCredential, status=201,
    ),
    Route(
        "POST", "/credentials/revoke", "revokeUser", "Revoke every credential and API token of a user.",
        revoke_user, action="credential.revoke", about=_about_revoke_user,
        body=RevokeUserRequest, response=RevokedAccess,
    ),
    Route(
        "POST", "/credentials/{serial}/revoke", "revokeCredential", "Revoke a credential.",
        revoke, action="credential.revoke", about=_about_revoke,
        body=RevokeRequest, response=CredentialList,
    ),
)  # fmt: skip
