"""Settings: what is refused, and that a refusal repeats no secret."""

import pytest

from proxy.errors import SettingsError
from proxy.settings import require_database_url


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
def test_a_database_s_url_as_libpq_reads_it(rest):
    require_database_url(f"postgresql://{rest}")


@pytest.mark.parametrize(
    "rest",
    [
        *("u:se/cret@db/audit", "u:12/secret@db/audit", "u:se#cret@db/audit", "u:se?cret@db/audit"),
        *("u:[secret@db/audit", "u:secret@db:port/audit", "u:secret@db:99999/audit"),
        *("u:se?c=ret@db/audit", "u:secret@[db/audit"),
    ],
)
def test_a_password_pasted_in_as_it_is_is_refused_and_not_repeated(rest):
    with pytest.raises(SettingsError, match="can be read") as refused:
        require_database_url(f"postgresql://{rest}")
    assert "cret" not in str(refused.value)
