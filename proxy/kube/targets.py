"""Which request targets are refused, because two parsers could understand them differently.

The proxy describes a target, records it and forwards the same bytes. That is only worth something
when kube-apiserver, a backend behind it and we cannot disagree about what the bytes mean. So dot
segments, empty segments and hidden slashes are refused, raw and encoded, in either letter case.

One part of some paths is not Kubernetes' own: what follows `…/proxy/` goes to a program behind a
pod, service or node, which may well have empty segments or encoded slashes in its names. There we
refuse only what could climb out again: dot segments, control characters, what is no URL at all.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.kube.go_url import MAX_PARAMETERS, first_values

MAX_PATH: Final = 8 * 1024
"""Bytes of a path that are looked at: this runs before anybody is known, and must stay cheap.

Kubernetes' own paths need less than 1 KiB; long commands of `kubectl exec` are in the query.
"""
MAX_ENCODED_NAMES: Final = 1000
"""Percent-encoded parameter names in a query, each of which costs a decoding. Clients send none."""

# Control characters and blanks end a request line or a header early; `#` starts a fragment for
# some parsers, and is an ordinary character for Go.
_NEVER: Final = re.compile(rb"[\x00-\x20\x7f#]")
# The fast way out: a path of ordinary characters with no empty segment and no segment of dots.
# Not possessive: before 3.11.5 Python lets a possessive group match what its parts must not.
_PLAIN: Final = re.compile(rb"(?:/(?!\.{1,2}(?:[/;]|\Z))[A-Za-z0-9_~!$&'(),*+;=:@.\-]+)*/?")
_RAW_PATH: Final = re.compile(rb"[^\x21-\x7e]|[\\^`{|}<>\"]")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_SELECTORS: Final = frozenset({"fieldSelector", "labelSelector"})
_SEPARATOR: Final = re.compile(rb"[/\\]")
# A parameter that some API servers (OpenShift) take for a bearer token, or a name that hides one.
_TOKEN_NAME: Final = re.compile(rb"&(?:access_token(?=[=&]|\Z)|[^=&%]*+%[^=&]*)")


def check_target(target: bytes) -> str | None:
    """Why a request target must be refused with 400, or None when it may be forwarded.

    Args:
        target: path and query, exactly as received; a cluster prefix may be removed already.
    """
    if not target.startswith(b"/"):
        return "the request target must be a path that starts with /"
    if _NEVER.search(target):
        return "the request target holds a control character, a blank or #"
    path, _, query = target.partition(b"?")
    if len(path) > MAX_PATH:
        return f"the path is longer than {MAX_PATH} bytes"
    refusal = None if _PLAIN.fullmatch(path) else _check_path(path)
    if refusal is None and query:
        refusal = _check_query(path, query)
    return refusal


def _check_path(path: bytes) -> str | None:
    if _RAW_PATH.search(path):
        return "the path holds a character that must be percent-encoded"
    if _BROKEN_ESCAPE.search(path):
        return "the path holds a broken percent escape"
    if path.startswith(b"//"):
        return "the path starts with an empty segment"
    segments = [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]
    backend = backend_start(segments)
    for segment in segments[:backend]:
        refusal = _check_segment(segment)
        if refusal is not None:
            return refusal
    if b"" in segments[: min(backend, len(segments) - 1)]:
        return "the path holds an empty segment"
    return _check_backend(segments[backend:])


def _check_segment(segment: bytes) -> str | None:
    """One decoded segment of Kubernetes' own part of a path."""
    if b"/" in segment or b"\\" in segment:
        return "the path holds an encoded slash or backslash"
    if b"%" in segment:
        return "the path is percent-encoded twice"
    if _is_dots(segment):
        return "the path holds a dot segment"
    if _CONTROL.search(segment):
        return "the path holds an encoded control character"
    try:
        segment.decode()
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    return None


def _check_backend(segments: list[bytes]) -> str | None:
    """The decoded segments that a backend behind a `proxy` subresource interprets."""
    for segment in segments:
        if _CONTROL.search(segment):
            return "the path holds an encoded control character"
        # kube-apiserver decodes and cleans this part: an encoded slash separates there.
        if any(map(_is_dots, _SEPARATOR.split(segment))):
            return "the path holds a dot segment"
    return None


def _check_query(path: bytes, query: bytes) -> str | None:
    if query.count(b"&") >= MAX_PARAMETERS:
        # Newer API servers ignore every parameter of such a query, older ones none of them.
        return f"the query holds more than {MAX_PARAMETERS} parameters"
    for count, match in enumerate(_TOKEN_NAME.finditer(b"&" + query)):
        if count == MAX_ENCODED_NAMES:
            return f"the query holds more than {MAX_ENCODED_NAMES} percent-encoded parameter names"
        name = unquote_to_bytes(match[0][1:])
        if name == b"access_token" and not _has_backend(path):
            return "the query holds a credential (access_token); use a client certificate"
    if b"%00" in query:
        # To the API server's label parser a NUL ends the text, or not, depending on what is around.
        selectors = first_values(query.decode("utf-8", "surrogateescape"), _SELECTORS)
        if any("\x00" in selector for selector in selectors.values()):
            return "a selector holds NUL"
    return None


def _has_backend(path: bytes) -> bool:
    segments = [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]
    return backend_start(segments) < len(segments)


def backend_start(segments: list[bytes]) -> int:
    """How many leading segments are Kubernetes' own; all of them when no backend is addressed.

    Args:
        segments: the percent-decoded segments of a path, without the leading slash.
    """
    everything = len(segments)
    if segments[0] == b"api":
        start = 2
    elif segments[0] == b"apis":
        start = 3
    else:
        return everything
    verb = segments[start : start + 1]
    if verb in ([b"proxy"], [b"watch"]):
        start += 1
    if segments[start : start + 1] == [b"namespaces"] and segments[start + 2 : start + 3] not in (
        [],
        [b"status"],
        [b"finalize"],
    ):
        start += 2
    if verb == [b"proxy"]:
        return min(start + 2, everything)
    if segments[start + 2 : start + 3] == [b"proxy"]:
        return start + 3
    return everything


def _is_dots(segment: bytes) -> bool:
    # `..;x` is a dot segment with a path parameter to Java servers.
    return segment.startswith(b".") and segment.partition(b";")[0] in {b".", b".."}
