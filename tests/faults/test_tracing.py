"""What strace wrote is read as it happened, also where it tells of one call in two parts."""

from pathlib import Path

from tests.faults.tracing import Instance, Trace

_TOLD = """\
7  fallocate(5</j/a.open>, 0, 0, 268 <unfinished ...>
8  +++ exited with 0 +++
9  pwrite64(6</j/a.open>, "x"..., 1, 0 <unfinished ...>
7  <... fallocate resumed>) = 0 (DELAYED)
7  rename("/j/next", "/j/b.jsonl") = -1 EIO (Input/output error) (INJECTED)
9  +++ killed by SIGKILL +++
"""


def _trace(folder: Path) -> Trace:
    path = folder / "trace"
    path.write_text(_TOLD)
    return Trace.read(path)


def test_a_call_told_in_two_parts_is_one(tmp_path: Path) -> None:
    trace = _trace(tmp_path)
    assert trace.instances("/j/a.open", injected=True) == [Instance("/j/a.open", "fallocate", 0, 1)]
    assert trace.killed_at("/j/a.open", "pwrite64", 1) == [Instance("/j/a.open", "pwrite64", 1, 1)]


def test_a_rename_is_a_call_on_its_first_path(tmp_path: Path) -> None:
    trace = _trace(tmp_path)
    assert [one.syscall for one in trace.instances("/j/next")] == ["rename"]
    assert trace.instances("/j/b.jsonl") == []
