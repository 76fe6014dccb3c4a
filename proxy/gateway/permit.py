"""What a call rests on: who makes it and what it is, so that it can be judged again while it lasts.

A stream may be open for hours. What was granted may be taken back meanwhile, or end, or somebody
may be disabled: then the stream ends as well.
"""

import math

from proxy.authz.deciding import Decision, Request, decide
from proxy.authz.standing import caller_of, governed
from proxy.state.access import Access


class Permit:
    """The right of one caller to one call."""

    __slots__ = (
        "_access",
        "_certificate_groups",
        "_refuse",
        "_until",
        "_user",
        "governed",
        "request",
    )

    def __init__(
        self, user: str, certificate_groups: tuple[str, ...], request: Request, *, refuse: bool
    ) -> None:
        self._user = user
        self._certificate_groups = certificate_groups
        self._refuse = refuse
        self._access: Access | None = None
        self._until = 0.0
        self.request = request
        self.governed = False
        """Whether grants decided about the caller when they were last asked."""

    def judge(self, access: Access, now: float) -> Decision | None:
        """What the grants say at wall time `now`; None when they do not decide about this caller."""
        user, groups = self._user, self._certificate_groups
        decision: Decision | None
        self.governed = governed(access, user, groups)
        if self.governed:
            decision = decide(access, caller_of(access, user, groups), self.request, now)
        elif self._refuse:
            decision = Decision(False, "only users who are registered are served", until=math.inf)
        else:
            decision = None
        if decision is None or decision.allowed:
            self._access = access
            self._until = math.inf if decision is None else decision.until
        return decision

    def stands(self, access: Access, now: float) -> bool:
        """Whether the call may go on. Costs nothing while neither the state nor a grant has ended."""
        if access is self._access and now < self._until:
            return True
        decision = self.judge(access, now)
        return decision is None or decision.allowed
