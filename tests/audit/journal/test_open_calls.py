"""Looking for open calls at fixed places of a line sees what decoding the line would see."""

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.event import Call, Stage, SystemEvent, body, describe, stage
from proxy.audit.journal.open_calls import OpenCalls
from proxy.audit.journal.records import GENESIS, frame
from tests.audit.journals import NOW, a_call, intent, outcome

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
BODIES: st.SearchStrategy[Callable[[Call], bytes]] = st.sampled_from(
    [
        intent,
        outcome,
        lambda call: stage(describe(call), Stage.RESPONSE_STARTED, NOW),
        lambda call: stage(describe(call), Stage.PANIC, NOW),
        lambda call: body(SystemEvent(call.audit_id, "2027-01-15T08:00:00.000000Z", call.verb)),
        # Not as event.py writes it: members in another order, and spaces.
        lambda call: (
            b'"auditID": "%b", "stage": "RequestReceived", "kind": "Event"' % call.audit_id.encode()
        ),
    ]
)


@given(st.lists(st.tuples(BODIES, st.integers(0, 5), TEXT), max_size=20), st.integers(1, 10**6))
def test_looking_at_fixed_places_sees_what_decoding_sees(
    story: list[tuple[Callable[[Call], bytes], int, str]], first: int
) -> None:
    ids = [f"0190a000-0000-7000-8000-00000000000{n}" for n in range(6)]
    bodies = [make(a_call(audit_id=ids[n], verb=text)) for make, n, text in story]
    if not bodies:
        return
    cut = len(bodies) // 2
    one = frame(bodies[:cut] or bodies, b"00" * 16 * len(bodies), first, GENESIS)
    two = frame(bodies[cut:], b"00" * 16 * len(bodies), one.last + 1, one.sha256)
    found = OpenCalls()
    for data, seq in ((one.data, first), (two.data, two.first), (two.data, two.first)):
        skimmed = found.skim(data, 0, len(data), seq)
        assert skimmed.batches == 1
        assert skimmed.last is not None
    expected: dict[bytes, bytes] = {}
    for line in (one.data + two.data + two.data).splitlines():
        event = json.loads(line)
        if event.get("kind") == "Event" and event["stage"] == "RequestReceived":
            expected[event["auditID"].encode()] = line
        elif event.get("kind") == "Event" and event["stage"] in ("ResponseComplete", "Panic"):
            expected.pop(event["auditID"].encode(), None)
    assert found.lines == expected
