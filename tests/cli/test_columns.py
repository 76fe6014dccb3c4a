"""Tables in narrow terminals: what is dropped, cut, continued, and what never is."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.columns import Column, table

GRANTS = (
    Column("id", whole=True),
    Column("to", 8),
    Column("role", 8),
    Column("expires", rank=2, whole=True),
    Column("reason", 6, 3),
)
ID = "01a220e8-0caa-7b78-a4fa-ea2fa7fb4d47"
ROW = (ID, "group dev", "project-read-only", "2026-12-28 06:46:48", "they build it")


def test_all_of_it_stands_where_there_is_room() -> None:
    assert ROW[-1] in table(GRANTS, [ROW])
    assert table(GRANTS, [ROW], width=200) == table(GRANTS, [ROW])


def test_what_is_typed_again_is_never_cut() -> None:
    line = table(GRANTS, [ROW], width=80).splitlines()[1]
    assert line.startswith(ID)
    assert len(line) <= 80
    assert "2026-12-28 06:46:48" in line
    assert ROW[-1] not in line


def test_a_time_goes_as_a_whole() -> None:
    text = table(GRANTS, [ROW], width=64)
    assert "EXPIRES" not in text
    assert "2026" not in text
    assert ID in text


def test_the_end_of_an_object_says_as_much_as_its_beginning() -> None:
    columns = (Column("object", 20, middle=True), Column("status", 6))
    line = table(columns, [("pods/web-g6hb96hhlc-jxzsl exec", 101)], width=30).splitlines()[1]
    assert line == "pods/web-g6…jxzsl exec  101"


def test_a_sentence_goes_on_in_the_next_line() -> None:
    columns = (Column("check", whole=True), Column("finding", 10, wrap=True))
    text = table(columns, [("disk", "half of the space is free"), ("clock", "fine")], width=20)
    assert text.splitlines() == [
        "CHECK  FINDING",
        "disk   half of the",
        "       space is free",
        "clock  fine",
    ]


def test_rows_that_are_printed_one_by_one_keep_their_columns() -> None:
    columns = (Column("user", 8), Column("object", 10), Column("tool", 6, 1))
    lines = [
        table(columns, [row], width=34, header=False, floor=(10, 20, 8))
        for row in (("ann", "pods", "kubectl"), ("robert", "deployments/web scale", "helm"))
    ]
    assert [line.index(word) for line, word in zip(lines, ("pods", "deploy"), strict=True)] == [
        12,
        12,
    ]
    assert "…" not in lines[0]
    assert all(len(line.rstrip("\n")) <= 34 for line in lines)


@given(
    st.lists(st.text("abc xyz", max_size=60), min_size=3, max_size=3),
    st.integers(30, 120),
)
def test_a_line_fits_when_its_columns_can(cells: list[str], width: int) -> None:
    columns = (Column("a", 8), Column("b", 8, 1, middle=True), Column("c", 8, 2, wrap=True))
    for line in table(columns, [cells], width=width).splitlines():
        assert len(line) <= width


def test_an_empty_column_takes_no_room_from_the_others() -> None:
    columns = (
        Column("verb", 6),
        Column("cluster", 8, 2),
        Column("status", 7),
        Column("tool", 6, 3),
    )
    cells = ("credential.revoke", "", "ok", "kubectl")
    assert table(columns, [cells], width=38).splitlines()[0].split() == ["VERB", "STATUS", "TOOL"]
    assert "CLUSTER" in table(columns, [cells], width=60)
    assert "CLUSTER" in table(columns, [cells])
