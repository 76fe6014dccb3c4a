"""What `kubewitness db rebuild` says of an index that is not what the journals say; and the way back."""

import json
import re
from typing import Any

import pytest

from proxy.audit.index.postgresql.verifying import FalseBlock
from proxy.cli.db_compared import SHOWN, Report
from proxy.cli.output import Format
from proxy.errors import ConflictError
from proxy.runtime.comparing import LISTED, Compared, What
from tests.audit.index.postgresql.databases import forge, forged_row
from tests.cli.conftest import LOGIN, Command, local_acts
from tests.control.plane import Plane
from tests.deploy.prometheus import ROOT
from tests.postgres import Database


@pytest.fixture
def filled(plane: Plane, command: Command, upgraded: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The index in PostgreSQL of some looks at the record; its URL."""
    monkeypatch.setenv("KUBEWITNESS_DATABASE", upgraded)
    monkeypatch.delenv("KUBEWITNESS_ADMIN_DATABASE")
    for _ in range(30):
        plane.client().get("/audit/calls")
    plane.stop()
    done = command("db", "rebuild")
    assert done.code == 0, done.err
    return upgraded


def document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.usefixtures("filled")
def test_each_difference_is_named_and_counted(
    plane: Plane, command: Command, database: Database
) -> None:
    forge(
        database,
        "UPDATE kubewitness.events SET line = 'forged' WHERE seq BETWEEN 5 AND 29;"
        "DELETE FROM kubewitness.events WHERE seq = 31;" + forged_row("seq = 9000"),
    )
    done = command("db", "rebuild")
    assert done.code == 5
    assert "The index does not hold what the journals do: 25 different, 1 unknown." in done.err
    assert "An index that was altered" in done.err
    named = re.findall(r"^\d+ of \S+ .*$", done.err, re.MULTILINE)
    assert len(named) == SHOWN
    assert re.match(
        r"31 of \S+ was missing, though later ones were there; now it is, too\.", named[0]
    )
    assert re.match(r"5 of \S+ is not what its journal has: line\.", named[1])
    assert "And 7 more records; -o json lists them." in done.err
    *_, outcome = local_acts(plane)
    assert {"different": 25, "unknown": 1, "restored": 1}.items() <= outcome["detail"].items()
    assert outcome["outcome"].startswith("failed: The index does not hold")

    done = command("db", "rebuild", "-o", "json")
    assert done.code == 5
    found = document(done.out)
    assert [one["seq"] for one in found["differences"]] == [*range(5, 30), 9000]
    assert {one["what"] for one in found["differences"][:-1]} == {"different"}
    assert found["counts"] == {"different": 25, "unknown": 1, "missing": 0, "restored": 0}
    assert (found["moreDifferences"], found["blocks"], found["withoutJournal"]) == (0, [], [])
    csv = command("db", "rebuild", "-o", "csv")
    assert (csv.code, len(csv.out.splitlines())) == (5, 1 + 26)


@pytest.mark.usefixtures("filled")
def test_blocks_are_looked_at_whatever_the_records_are(
    command: Command, database: Database
) -> None:
    forge(
        database,
        forged_row("writer = 'nobody'") + "UPDATE kubewitness.events SET line = 'x' WHERE seq = 5",
    )
    found = document(command("db", "rebuild", "-o", "json").out)
    assert [one["what"] for one in found["differences"]] == ["different"]
    (block,) = found["blocks"]
    assert (block["writer"], block["why"], block["madeAnew"]) == ("nobody", "it is missing", False)
    done = command("db", "rebuild", "--admin-database", database.url)
    assert done.code == 5
    assert "Block -16384 of nobody hid records: it is missing; made anew." in done.err
    assert document(command("db", "rebuild", "-o", "json").out)["blocks"] == []


@pytest.mark.usefixtures("filled")
def test_a_writer_without_a_journal_is_no_difference_unless_all_journals_are_given(
    plane: Plane, command: Command, database: Database
) -> None:
    forge(
        database,
        forged_row("writer = 'nobody'")
        + forged_row("writer = 'nobody', seq = 2")
        + "INSERT INTO kubewitness.blocks"
        " SELECT nextval('kubewitness.block_numbers'), 'nobody', -16384, 0, 0, ''",
    )
    done = command("db", "rebuild")
    assert done.code == 0, done.err
    assert "2 records of nobody: no journal given has this writer; another replica" in done.err
    assert local_acts(plane)[-1]["detail"]["withoutJournal"] == 2
    done = command("db", "rebuild", "--all-journals", "-o", "json")
    assert (done.code, "2 without a journal" in done.err) == (5, True)
    found = document(done.out)
    assert found["withoutJournal"] == [{"writer": "nobody", "records": 2, "before": None}]
    assert found["differences"] == []


def test_all_journals_are_for_a_shared_database(plane: Plane, command: Command) -> None:
    plane.stop()
    done = command("db", "rebuild", "--all-journals")
    assert (done.code, "share a database" in done.err) == (2, True)
    done = command("db", "rebuild", "-o", "json")
    assert (done.code, document(done.out)["differences"]) == (0, [])


def test_more_than_is_listed_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert LISTED >= 10_000
    compared = Compared(records=1)
    for seq in range(LISTED + 3):
        compared.found(What.DIFFERENT, "w-0", seq, ("line",))
        compared.says_nothing(f"w-{seq}", 2, before=None)
    compared.says_nothing("nobody", 0)
    compared.calls_put_right, compared.calls_left = 7, ["c-1"]
    blocks = [FalseBlock("w-0", 16_384 * n, n, "texts are missing", None) for n in range(SHOWN + 2)]
    report = Report(compared, blocks, blocks[:1])
    report.tell(Format.JSON)
    found = document(capsys.readouterr().out)
    assert (len(found["differences"]), found["moreDifferences"]) == (LISTED, 3)
    assert (len(found["withoutJournal"]), found["moreWithoutJournal"]) == (LISTED, 3)
    assert found["openCalls"] == {"putRight": 7, "wrong": ["c-1"]}
    assert [one["madeAnew"] for one in found["blocks"]] == [False] + [True] * (SHOWN + 1)
    report.tell(Format.TABLE)
    said = capsys.readouterr().err
    assert f"And {LISTED + 3 - SHOWN} more records; -o json lists them." in said
    assert f"And {LISTED + 3 - SHOWN} more writers without a journal; -o json lists them." in said
    assert "And 2 more blocks; -o json lists them." in said
    assert "7 calls were listed as open and were not, or the other way round; put right." in said
    assert "Whether call c-1 is open is listed wrongly." in said
    assert report.recorded()["withoutJournal"] == 2 * (LISTED + 3)
    with pytest.raises(ConflictError, match=f"{LISTED + 3} different"):
        report.require()


def documented(heading: str) -> list[str]:
    """The lines of the first block under a heading of day two."""
    text = (ROOT / "docs" / "day-two.md").read_text().split(f"\n## {heading}\n", 1)[1]
    return text.split("\n```\n", 2)[1].splitlines()


@pytest.mark.usefixtures("filled")
def test_the_documented_way_back_leads_to_an_equal_index(
    command: Command, database: Database
) -> None:
    before = document(command("db", "rebuild", "-o", "json").out)["records"]
    forge(
        database,
        "UPDATE kubewitness.events SET line = 'forged', username = 'nobody' WHERE seq IN (5, 6);"
        + forged_row("seq = 9000")
        + forged_row("writer = 'nobody'")
        + "DELETE FROM kubewitness.blocks",
    )
    done = command("db", "rebuild", "--all-journals")
    assert done.code == 5
    for line in documented("An index that was altered"):
        if line.startswith("psql"):
            database.exec(line.split(' -c "', 1)[1].rsplit('"', 1)[0])
        elif line.startswith("KUBEWITNESS_ADMIN_DATABASE"):
            words = line.split(" kubewitness ", 1)[1].split()
            done = command(*words[:-1], LOGIN, "--database", database.url, direct=True)
            assert done.code == 0, done.err
        elif line.startswith("kubewitness db rebuild"):
            done = command("db", "rebuild", "--all-journals", "-o", "json")
            assert done.code == 0, done.err
    found = document(done.out)
    assert found["records"] > before, "the commands since then are on record, too"
    assert (sum(found["counts"].values()), found["withoutJournal"], found["blocks"]) == (0, [], [])
    status = command("db", "status", "--count", "-o", "json")
    assert status.code == 0, status.err
    assert all(one["missing"] == 0 for one in document(status.out)["writers"])
