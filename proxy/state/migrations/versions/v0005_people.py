"""Who exists and what is granted; whoever administers already is registered, with a grant that says so."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from proxy.audit.event import new_id
from proxy.clock import SystemClock

revision = "0005"
down_revision = "0004"

_LOCAL: Final = "admin"
"""The machine's own administrator, who needs no grant."""
_BY: Final = "kubewitness"
_REASON: Final = "had an admin credential before there were grants"


def upgrade() -> None:
    """Create the tables and fill in those who may administer now."""
    op.add_column(
        "meta",
        sa.Column("access_version", sa.BigInteger(), nullable=False, server_default="1"),
    )
    _create_subjects()
    _create_what_is_granted()
    _create_tokens()
    _keep_administrators()


def _create_subjects() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.Double(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_index("ix_users_changed", "users", ["changed"])
    op.create_table(
        "groups",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_groups")),
    )


def _create_what_is_granted() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("places", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )
    op.create_table(
        "roles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("denies", sa.Text(), nullable=False),
        sa.Column("kubernetes_groups", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.Column("revoked_reason", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_changed", "grants", ["changed"])
    op.create_index("ix_grants_subject", "grants", ["subject"])
    op.create_index("ix_grants_created_at", "grants", ["created_at"])


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("not_after", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.Column("revoked_reason", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_index("ix_tokens_changed", "tokens", ["changed"])
    op.create_index("ix_tokens_user", "tokens", ["user"])


def _keep_administrators() -> None:
    connection, now = op.get_bind(), SystemClock().now()
    meta = sa.table("meta", sa.column("version"), sa.column("access_version"))
    connection.execute(sa.update(meta).values(access_version=meta.c.version))
    version = connection.execute(sa.select(meta.c.version)).scalar_one()
    credentials = sa.table(
        "credentials",
        *(sa.column(name) for name in ("user", "usage", "not_after", "revoked_at")),
    )
    standing = (
        sa.select(credentials.c.user)
        .where(
            credentials.c.usage == "admin",
            credentials.c.user != _LOCAL,
            credentials.c.not_after > now,
            credentials.c.revoked_at.is_(None),
        )
        .distinct()
        .order_by(credentials.c.user)
    )
    for user in connection.execute(standing).scalars().all():
        _insert("users", _user(user, now) | {"changed": version})
        _insert("grants", _grant(user, now) | {"changed": version})


def _insert(table: str, row: dict[str, object]) -> None:
    made = sa.table(table, *(sa.column(name) for name in row))
    op.get_bind().execute(sa.insert(made).values(row))


def _user(name: str, now: float) -> dict[str, object]:
    return {
        "name": name,
        "kind": "person",
        "groups": "[]",
        "created_at": now,
        "created_by": _BY,
        "display_name": "",
        "disabled_reason": "",
    }


def _grant(user: str, now: float) -> dict[str, object]:
    return {
        "id": new_id(now),
        "subject_kind": "user",
        "subject": user,
        "role": "admin",
        "scope_kind": "organization",
        "project": "",
        "cluster": "",
        "namespace": "",
        "created_at": now,
        "created_by": _BY,
        "reason": _REASON,
        "revoked_by": "",
        "revoked_reason": "",
    }
