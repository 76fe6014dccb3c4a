"""Who a call runs as on the target cluster: identity headers, built, parsed and judged.

Impersonation fails open: a request without these headers runs as the proxy's own account. So
values that a header cannot carry exactly are refused, never repaired, and what a client asks for
with `--as` is either understood completely or refused. Rules: wire reference, section 3;
k8s.io/apiserver `pkg/endpoints/filters/impersonation`, client-go `transport/round_trippers.go`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

Headers = list[tuple[bytes, bytes]]
Extra = tuple[tuple[str, tuple[str, ...]], ...]

RESERVED_EXTRA: Final = "kubewitness.io"
"""The domain of our own extra keys: only the proxy says where a call came from."""

MAX_USER_BYTES: Final = 64
"""A certificate's common name holds no more (RFC 5280, ub-common-name)."""
MAX_GROUP_BYTES: Final = 253
"""Groups come from directories with long names; this is the longest name Kubernetes knows."""

_EXTRA_PREFIX: Final = b"impersonate-extra-"
_EXTRA_KEY: Final = re.compile(r"[a-z0-9/\-._]+")
_TOKEN_BYTES: Final = frozenset(
    b"!#$&'*+-.^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
)
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_ANONYMOUS: Final = "system:anonymous"
_AUTHENTICATED: Final = "system:authenticated"
_OWNERS: Final = {
    "system:": "Kubernetes owns all of system:*",
    "kubewitness:": "only the proxy gives kubewitness:*",
}
_FORBIDDEN_GROUPS: Final = {
    "system:masters": "it bypasses every authorization on the cluster",
}
_FORBIDDEN_USERS: Final = {
    "system:apiserver": "it is the API server's own identity on its loopback connection",
}


class InvalidIdentity(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """An identity that cannot be sent, or must not be issued."""


class InvalidImpersonation(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """Impersonation headers of a client that are malformed; kube-apiserver answers 400."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """A user as Kubernetes knows one.

    `extra` pairs each key with its values; keys are lower-case and appear once.
    """

    user: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Extra = ()


def headers(identity: Identity) -> Headers:
    """The identity headers of a request that runs as `identity`, and nothing else.

    Raises:
        InvalidIdentity: a value is empty, has blanks at its ends, or cannot stand in a header.
    """
    return list(_headers(identity))


@functools.lru_cache(maxsize=1024)
def _headers(identity: Identity) -> tuple[tuple[bytes, bytes], ...]:
    built = [(b"Impersonate-User", _value("user", identity.user))]
    built += [(b"Impersonate-Group", _value("group", group)) for group in identity.groups]
    if identity.uid:
        built.append((b"Impersonate-Uid", _value("uid", identity.uid)))
    for key, values in identity.extra:
        name = b"Impersonate-Extra-" + _encode_key(key)
        built += [(name, _value(f"extra {key}", value)) for value in values]
    return tuple(built)


def _value(kind: str, value: str) -> bytes:
    """A header value that arrives unchanged: HTTP parsers cut blanks at both ends."""
    if not value:
        raise InvalidIdentity(f"the {kind} is empty")
    if value != value.strip():
        raise InvalidIdentity(f"the {kind} {value!r} starts or ends with a blank")
    if _CONTROL.search(value):
        raise InvalidIdentity(f"the {kind} {value!r} holds a control character")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidIdentity(f"the {kind} {value!r} is not UTF-8") from None


def _encode_key(key: str) -> bytes:
    """Every byte that is no token character, and `%` and `_` themselves, as `%XX`.

    `_` may stand in a header name, but some HTTP servers drop such names or read it as `-`.
    """
    if not _EXTRA_KEY.fullmatch(key):
        # The server lower-cases the key before it decodes: other keys would arrive changed.
        raise InvalidIdentity(f"the extra key {key!r} may hold only a-z 0-9 / - . _")
    return b"".join(
        bytes((byte,)) if byte in _TOKEN_BYTES else b"%%%02X" % byte for byte in key.encode()
    )


def requested(headers: Sequence[tuple[bytes, bytes]]) -> Identity | None:
    """The identity a client asks for with `--as`, or None when it asks for none.

    Args:
        headers: all headers of the client's request, as received.

    Raises:
        InvalidImpersonation: a header starts with `Impersonate` but is none of the four, a single
            one is repeated, a value is unusable, or no user is named.
    """
    single: dict[bytes, str] = {}
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for raw_name, raw_value in headers:
        # Some servers read `_` as `-`; a name that only they would understand is refused.
        if raw_name[:11].lower() != b"impersonate":
            continue
        name = raw_name.lower()
        value = _requested_value(name, raw_value)
        if name == b"impersonate-group":
            groups.append(value)
        elif name.startswith(_EXTRA_PREFIX):
            extra.setdefault(_requested_key(name), []).append(value)
        elif name not in {b"impersonate-user", b"impersonate-uid"}:
            raise InvalidImpersonation(f"header {_show(raw_name)} is not known")
        elif name in single:
            raise InvalidImpersonation(f"header {_show(raw_name)} is given more than once")
        else:
            single[name] = value
    if b"impersonate-user" in single:
        pairs = tuple((key, tuple(values)) for key, values in extra.items())
        uid = single.get(b"impersonate-uid", "")
        return Identity(single[b"impersonate-user"], tuple(groups), uid, pairs)
    if single or groups or extra:
        raise InvalidImpersonation("a group, uid or extra is requested without Impersonate-User")
    return None


def _requested_value(name: bytes, raw: bytes) -> str:
    try:
        value = raw.strip(b" \t").decode()
        _value("value", value)
    except (UnicodeDecodeError, InvalidIdentity) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"is bad: {error}"
        raise InvalidImpersonation(f"header {_show(name)} {reason}") from None
    return value


def _requested_key(name: bytes) -> str:
    """The extra key of a lower-cased header name; only keys with one possible spelling pass."""
    encoded = name[len(_EXTRA_PREFIX) :]
    key = unquote_to_bytes(encoded).decode("utf-8", "replace")
    try:
        spelled = _encode_key(key)
    except InvalidIdentity as error:
        raise InvalidImpersonation(f"header {_show(name)}: {error}") from None
    if spelled.lower().replace(b"%5f", b"_") != encoded.replace(b"%5f", b"_"):
        raise InvalidImpersonation(f"header {_show(name)} hides characters behind percent escapes")
    return key


def _show(name: bytes) -> str:
    return repr(name[:80].decode("ascii", "backslashreplace"))


def never(identity: Identity) -> str | None:
    """Why no client may ever request this identity, or None when an access review may decide."""
    for name in (identity.user, *identity.groups):
        # What our own grants give in a cluster is given by grants and by nothing else.
        if _owner(name) == "kubewitness:":
            return f"{name} cannot be requested: {_OWNERS['kubewitness:']}"
    if identity.user in _FORBIDDEN_USERS:
        return f"user {identity.user} cannot be requested: {_FORBIDDEN_USERS[identity.user]}"
    for group in identity.groups:
        if group in _FORBIDDEN_GROUPS:
            return f"group {group} cannot be requested: {_FORBIDDEN_GROUPS[group]}"
    for key, _ in identity.extra:
        domain = key.partition("/")[0]
        if domain == RESERVED_EXTRA or domain.endswith("." + RESERVED_EXTRA):
            return f"extra {key} cannot be requested: only the proxy sets {RESERVED_EXTRA} keys"
    return None


def access_reviews(actor: Identity, wanted: Identity) -> list[dict[str, Any]]:
    """The specs of the SubjectAccessReviews that must all be allowed before `actor` is `wanted`.

    One for the user, for each group, for the uid and for each extra value, exactly as
    kube-apiserver would ask for `actor` itself. The actor's groups are completed as it completes
    them, because grants are often bound to `system:authenticated`.
    """
    subject = _subject(actor)
    account = _service_account(wanted.user)
    if account is None:
        asked = [_attributes("", "users", wanted.user)]
    else:
        asked = [_attributes("", "serviceaccounts", account[1]) | {"namespace": account[0]}]
    asked += [_attributes("", "groups", group) for group in wanted.groups]
    if wanted.uid:
        asked.append(_attributes("authentication.k8s.io", "uids", wanted.uid))
    asked += [
        _attributes("authentication.k8s.io", "userextras", value) | {"subresource": key}
        for key, values in wanted.extra
        for value in values
    ]
    return [subject | {"resourceAttributes": attributes} for attributes in asked]


def _attributes(group: str, resource: str, name: str) -> dict[str, str]:
    return {
        "verb": "impersonate",
        "group": group,
        "version": "v1",
        "resource": resource,
        "name": name,
    }


def _subject(actor: Identity) -> dict[str, Any]:
    groups = list(actor.groups)
    if actor.user != _ANONYMOUS and not {_AUTHENTICATED, "system:unauthenticated"} & set(groups):
        groups.append(_AUTHENTICATED)
    subject: dict[str, Any] = {"user": actor.user, "groups": groups}
    if actor.uid:
        subject["uid"] = actor.uid
    if actor.extra:
        subject["extra"] = {key: list(values) for key, values in actor.extra}
    return subject


def _service_account(user: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user name."""
    if not user.startswith(_SERVICE_ACCOUNT):
        return None
    namespace, _, name = user[len(_SERVICE_ACCOUNT) :].partition(":")
    if _DNS_LABEL.fullmatch(namespace) and _DNS_SUBDOMAIN.fullmatch(name):
        return namespace, name
    return None


def check_name(kind: str, value: str) -> None:
    """Whether a user or group name may be put into a credential.

    Args:
        kind: `user` or `group`; it names the value in messages and sets the length limit
            (`MAX_USER_BYTES`, and `MAX_GROUP_BYTES` for all others).
        value: the name, as it would stand in the certificate.

    Raises:
        InvalidIdentity: the name is empty or too long, starts with `system:` or `kubewitness:` in
            any letter case, has blanks at its ends, or holds control or invisible characters.
    """
    encoded = _value(kind, value)
    limit = MAX_USER_BYTES if kind == "user" else MAX_GROUP_BYTES
    if len(encoded) > limit:
        raise InvalidIdentity(f"the {kind} is {len(encoded)} bytes long; {limit} are possible")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} for character in value):
        raise InvalidIdentity(f"the {kind} {value!r} holds an invisible character")
    if owner := _owner(value):
        raise InvalidIdentity(f"the {kind} {value!r} is reserved: {_OWNERS[owner]}")


def _owner(name: str) -> str:
    """The reserved beginning of a name, in any spelling that could pass for it; mostly empty."""
    # NFKC turns look-alikes such as a full-width colon into the plain letter.
    plain = unicodedata.normalize("NFKC", name).casefold()
    return next((prefix for prefix in _OWNERS if plain.startswith(prefix)), "")
