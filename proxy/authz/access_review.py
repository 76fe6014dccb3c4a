"""`--as` through the proxy: the cluster decides whether the person may impersonate.

For each item asked for (user, groups, uid, extra values) one access review is made in the
person's own name: a SelfSubjectAccessReview sent with the person's identity headers, which is a
SubjectAccessReview for that person, answered by the cluster's own rules. It needs no permission
of the proxy's account beyond impersonation.
"""

from typing import Protocol

import msgspec

from proxy.errors import DeniedError, UnavailableError
from proxy.kube import impersonation
from proxy.kube.impersonation import Identity
from proxy.upstream.asking import ask
from proxy.upstream.cluster import Target
from proxy.upstream.pool import Pool

_PATH = b"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class AccessReviewer(Protocol):
    """Decides whether one identity may act as another in a cluster."""

    async def review(
        self, target: Target, actor: Identity, wanted: Identity, audit_id: str
    ) -> None:
        """Return when allowed. Raises DeniedError, or UnavailableError when nobody could say."""
        ...


class _Decision(msgspec.Struct):
    allowed: bool = False
    denied: bool = False


class _Review(msgspec.Struct):
    status: _Decision


class ClusterAccessReviewer:
    """Asks the cluster itself, every time: a grant taken back counts on the next call."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def review(
        self, target: Target, actor: Identity, wanted: Identity, audit_id: str
    ) -> None:
        """One review per item; all must be allowed."""
        for spec in impersonation.access_reviews(actor, wanted):
            attributes = spec["resourceAttributes"]
            body = msgspec.json.encode(
                {
                    "kind": "SelfSubjectAccessReview",
                    "apiVersion": "authorization.k8s.io/v1",
                    "spec": {"resourceAttributes": attributes},
                }
            )
            headers = [*impersonation.headers(actor), (b"Audit-ID", audit_id.encode())]
            status, answer = await ask(self._pool, target, b"POST", _PATH, headers, body)
            if not self._allowed(target, status, answer):
                raise DeniedError(
                    f"user {actor.user!r} may not impersonate {_item(attributes)} "
                    f"in cluster {target.name!r}"
                )

    @staticmethod
    def _allowed(target: Target, status: int, answer: bytes) -> bool:
        if status not in {200, 201}:
            raise UnavailableError(
                f"cluster {target.name!r} answered {status} to the access review for --as"
            )
        try:
            decision = msgspec.json.decode(answer, type=_Review).status
        except msgspec.MsgspecError as error:
            raise UnavailableError(
                f"cluster {target.name!r} answered the access review for --as with no decision"
            ) from error
        return decision.allowed and not decision.denied


def _item(attributes: dict[str, str]) -> str:
    resource = attributes["resource"]
    if resource == "userextras":
        return f"extra {attributes['subresource']!r} value {attributes['name']!r}"
    return f"{resource.removesuffix('s')} {attributes['name']!r}"
