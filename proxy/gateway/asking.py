"""`kubectl auth can-i`: questions about oneself that the grants have a word in.

Only the grants know what they deny, so a question that they answer with no is answered here. All
others go to the cluster, which has a word in it, too. A question for all rules (`--list`) is
answered with those of the grants. What cannot be read is refused: the cluster would say yes to it.
"""

import asyncio
from typing import Final

from proxy.authz import listing
from proxy.authz.deciding import Request, decide
from proxy.authz.standing import Caller
from proxy.gateway.exchange import Authorized, Received
from proxy.gateway.permit import Permit
from proxy.gateway.receiving import Refused
from proxy.gateway.responding import CONTINUE
from proxy.kube.self_review import (
    FORMS,
    asked_about,
    denial,
    is_self_access_review,
    is_self_rules_review,
    listed,
    read_namespace,
    read_question,
)
from proxy.state.access import Access

ANSWERED: Final = "kubewitness.io/access-review"
"""Annotation of a question's record that was answered here: the answer."""
LARGEST: Final = 64 * 1024
"""Bytes of a question that is read here; larger ones are refused."""


async def answer(authorized: Authorized, access: Access, now: float) -> bytes | None:
    """The answer to a self review, as JSON; None when the cluster is to answer.

    The body stays where it is, so that the call can still be forwarded. Raises Refused for a
    question that cannot be read.
    """
    described = authorized.identified.described
    received, info = described.routed.received, described.info
    permit = received.connection.permit
    if permit is None or not permit.governed:
        return None
    who = authorized.identified.who
    caller = Caller(who.user, who.groups)
    if is_self_access_review(info):
        return _no(received, await _whole_body(received), permit, caller, access, now)
    if is_self_rules_review(info):
        return _all(received, await _whole_body(received), permit, caller, access, now)
    return None


def _no(
    received: Received, body: bytes, permit: Permit, caller: Caller, access: Access, now: float
) -> bytes | None:
    question = read_question(body)
    if question is None:
        raise _unreadable()
    info, call_class = asked_about(question)
    impersonates = permit.request.impersonates
    asked = Request(permit.request.cluster, info, call_class, impersonates=impersonates)
    decision = decide(access, caller, asked, now)
    if decision.allowed:
        return None
    received.record.call.annotations[ANSWERED] = f"no: {decision.why}"
    return denial(permit.request.info.version, question, f"kubewitness: {decision.why}")


def _all(
    received: Received, body: bytes, permit: Permit, caller: Caller, access: Access, now: float
) -> bytes:
    namespace = read_namespace(body)
    if namespace is None:
        raise _unreadable()
    asking = permit.request
    found = listing.rules(
        access, caller, asking.cluster, namespace, now, impersonates=asking.impersonates
    )
    received.record.call.annotations[ANSWERED] = f"the rules of the grants in {namespace!r}"
    return listed(asking.info.version, namespace, found)


def _unreadable() -> Refused:
    return Refused(
        400,
        "bad-request",
        "the review cannot be read: it must be one question in JSON or in the protobuf form of "
        "Kubernetes",
    )


async def _whole_body(received: Received) -> bytes:
    """The request's body, read but not taken. Raises Refused for one that cannot be read here."""
    request, body = received.request, received.request.body
    kinds = [value for name, value in request.headers if name.lower() == b"content-type"]
    kind = kinds[0].partition(b";")[0].strip().lower() if kinds else b""
    if len(kinds) > 1 or kind not in FORMS:
        raise Refused(
            415,
            "bad-request",
            "a review of one's own access is read here, so it must be JSON or the protobuf form of "
            "Kubernetes",
        )
    if body is None:
        raise _unreadable()
    if request.expects:
        received.connection.write(CONTINUE)
        request.expects = False
    try:
        async with asyncio.timeout(received.connection.limits.body_timeout):
            while not body.complete and not body.failed and body.waiting <= LARGEST:
                await body.more()
    except TimeoutError:
        raise Refused(400, "bad-request", "the review did not come to its end in time") from None
    if body.waiting > LARGEST:
        raise Refused(413, "bad-request", f"a review has at most {LARGEST} bytes")
    if not body.complete:
        raise _unreadable()
    return body.peek()
