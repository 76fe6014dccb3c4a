"""Roles are made once, and can do nothing by themselves."""

import pytest

from proxy.state.roles import Role
from tests.postgres import Postgres


@pytest.mark.parametrize("role", Role)
def test_a_role_is_made_once_and_has_no_attribute(postgres: Postgres, role: Role) -> None:
    for _ in range(2):
        postgres.exec(role.creation)
    attributes = (
        "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication"
        f" OR rolbypassrls FROM pg_roles WHERE rolname = '{role}'"
    )
    assert postgres.exec(attributes) == "f"
