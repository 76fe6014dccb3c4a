"""Values survive their row: what is written is what is read."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.state import rows, tables
from proxy.state.access import (
    ClusterAccess,
    Grant,
    Place,
    Project,
    Role,
    Scope,
    User,
)
from proxy.state.tokens import Token

TEXT = st.text(max_size=5)


@given(st.builds(User, groups=st.lists(TEXT).map(tuple)))
def test_users(item: User) -> None:
    row = rows.user_row(item)
    assert rows.user([row[column.name] for column in rows.USER]) == item


@given(st.builds(Project, places=st.lists(st.builds(Place, namespaces=st.just(("a",)))).map(tuple)))
def test_projects(item: Project) -> None:
    row = rows.project_row(item)
    assert rows.project([row[column.name] for column in rows.PROJECT]) == item


@given(st.builds(Role, clusters=st.just(ClusterAccess.NONE), built_in=st.just(value=False)))
def test_roles(item: Role) -> None:
    row = rows.role_row(item)
    assert set(row) == set(tables.roles.c.keys())
    assert rows.role(row) == item


@given(st.builds(Grant, scope=st.builds(Scope, project=TEXT, cluster=TEXT, namespace=TEXT)))
def test_grants(item: Grant) -> None:
    row = rows.grant_row(item)
    assert rows.grant([row[column.name] for column in rows.GRANT]) == item


@given(st.builds(Token, scope=st.none() | st.builds(Scope)))
def test_tokens(item: Token) -> None:
    row = rows.token_row(item)
    assert rows.token([row[column.name] for column in rows.TOKEN]) == item
