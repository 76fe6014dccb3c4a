"""Settings: what is refused, and that a refusal repeats no secret."""

from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import database_place, load, require_database_url


@pytest.mark.parametrize(
    "rest",
    [
        "u:p%2Fw@db/audit",
        "u@db:5432/audit?sslmode=verify-full&sslrootcert=/etc/ca.crt",
        "u@[::1]:5432,db2,db3:6000/audit",
        "/audit?host=/run/postgresql",
        "u@db",
    ],
)
def test_a_database_s_url_as_libpq_reads_it(rest: str) -> None:
    require_database_url(f"postgresql://{rest}")


@pytest.mark.parametrize(
    "rest",
    [
        *("u:se/cret@db/audit", "u:12/secret@db/audit", "u:se#cret@db/audit", "u:se?cret@db/audit"),
        *("u:[secret@db/audit", "u:secret@db:port/audit", "u:secret@db:99999/audit"),
        *("u:se?c=ret@db/audit", "u:secret@[db/audit"),
    ],
)
def test_a_password_pasted_in_as_it_is_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(SettingsError, match="can be read") as refused:
        require_database_url(f"postgresql://{rest}")
    assert "cret" not in str(refused.value)


URL = "postgresql://serve:hunter2@db/audit"


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ("u:pass%2Fword@db.example:5432/audit?sslmode=require", "db.example:5432"),
        ("u:p@a:1,[::1]:2/audit", "a:1,[::1]:2"),
        ("u:p@/audit?host=/run/postgresql&password=hidden", "/run/postgresql"),
        ("/audit", "its local socket"),
    ],
)
def test_where_a_database_is_in_words(rest: str, place: str) -> None:
    assert database_place(f"postgresql://{rest}") == place


def test_the_database_s_url_out_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text(f"{URL}\n")
    settings = load({"data_dir": str(tmp_path), "database_file": str(file)})
    assert (settings.database, settings.database_file) == (URL, file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"\xff", "not text"),
        (b"mysql://hunter2", "does not hold a URL"),
        (b"postgresql://a:hun/ter2@db/audit", "can be read"),
    ],
)
def test_a_file_without_a_url_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "dsn"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as refused:
        load({"data_dir": str(tmp_path), "database_file": str(file)})
    assert "ter2" not in str(refused.value)


def test_a_url_and_a_file_with_one_are_too_many(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text(URL)
    given = {"data_dir": str(tmp_path), "database": URL, "database_file": str(tmp_path / "dsn")}
    with pytest.raises(SettingsError, match="both set"):
        load(given)
