"""`kubectl auth can-i`: questions that the cluster would answer with yes, and the grants with no.

Only the grants know what they deny, so a question that they answer with no is answered here. All
others go to the cluster, which has a word in it, too.
"""

import asyncio
from typing import Final

from proxy.authz.deciding import Request, decide
from proxy.authz.standing import Caller
from proxy.gateway.exchange import Authorized, Received
from proxy.gateway.responding import CONTINUE
from proxy.kube.self_review import (
    asked_about,
    denial,
    is_self_access_review,
    read_question,
)
from proxy.state.access import Access

ANSWERED: Final = "kubewitness.io/access-review"
"""Annotation of a question's record that was answered here: the answer."""
LARGEST: Final = 64 * 1024
"""Bytes of a question that is read here; larger ones are the cluster's to refuse."""


async def answer(authorized: Authorized, access: Access, now: float) -> bytes | None:
    """The answer no to an allowed self review, as JSON; None when the cluster is to answer.

    The body stays where it is, so that the call can still be forwarded.
    """
    described = authorized.identified.described
    received = described.routed.received
    permit = received.connection.permit
    if permit is None or not permit.governed or not is_self_access_review(described.info):
        return None
    body = await _whole_body(received)
    question = None if body is None else read_question(body)
    if question is None:
        return None
    info, call_class = asked_about(question)
    who = authorized.identified.who
    asked = Request(
        permit.request.cluster, info, call_class, impersonates=permit.request.impersonates
    )
    decision = decide(access, Caller(who.user, who.groups), asked, now)
    if decision.allowed:
        return None
    received.record.call.annotations[ANSWERED] = f"no: {decision.why}"
    return denial(described.info.version, question, f"kubewitness: {decision.why}")


async def _whole_body(received: Received) -> bytes | None:
    """The request's body, read but not taken; None when it is too large or does not come."""
    request, body = received.request, received.request.body
    if body is None:
        return None
    if request.expects:
        received.connection.write(CONTINUE)
        request.expects = False
    try:
        async with asyncio.timeout(received.connection.limits.body_timeout):
            while not body.complete and not body.failed and body.waiting <= LARGEST:
                await body.more()
    except TimeoutError:
        return None
    return body.peek() if body.complete and body.waiting <= LARGEST else None
