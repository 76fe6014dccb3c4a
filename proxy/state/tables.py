"""The tables of the state, for SQLite and PostgreSQL alike.

Every row of what can be many (credentials, users, grants, tokens) carries the version at which it
last changed and is never deleted, so that a snapshot is brought up to date by reading only what is
newer.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Grows by one with every change of any table, in the transaction of the change.
    Column("version", BigInteger, nullable=False),
    # Which key seals the secrets in here (hex, see SecretBox); empty before the first process.
    Column("sealed_with", Text, nullable=False, server_default=""),
    # The version at which users, groups, projects, roles, grants or tokens last changed.
    Column("access_version", BigInteger, nullable=False, server_default="1"),
    CheckConstraint("id = 1", name="single_row"),
)

clusters = Table(
    "clusters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("server", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("in_cluster", Boolean, nullable=False),
    Column("note", Text, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("user", Text, nullable=False),
    # JSON arrays of text; never searched inside the database.
    Column("groups", Text, nullable=False),
    Column("clusters", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("issued_at", Double, nullable=False),
    Column("not_after", Double, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("revoked_at", Double),
    Column("revoked_reason", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("ix_credentials_changed", "changed"),
    Index("ix_credentials_user", "user"),
    Index("ix_credentials_not_after", "not_after"),
)

# Authorities that replicas hand to each other; only ever added to.
authorities = Table(
    "authorities",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("certificate", Text, nullable=False),
    # The key, sealed and bound to the fingerprint.
    Column("sealed", LargeBinary, nullable=False),
    Column("made_at", Double, nullable=False),
)

# Retention. These four are only ever added to: PostgreSQL grants nobody more than that, and the
# procedure that drops old partitions reads them for itself.
retentions = Table(
    "retentions",
    metadata,
    Column("id", Text, primary_key=True),
    # Records from before this moment (µs since the epoch, a UTC midnight) may go.
    Column("before", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", Double, nullable=False),
)

retention_approvals = Table(
    "retention_approvals",
    metadata,
    Column("retention", Text, primary_key=True),
    Column("approved_by", Text, primary_key=True),
    Column("approved_at", Double, nullable=False),
)

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("id", Text, primary_key=True),
    # From this moment to before that one (µs since the epoch); null is without an end.
    Column("since", BigInteger),
    Column("until", BigInteger),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False),
    Column("placed_at", Double, nullable=False),
)

legal_hold_releases = Table(
    "legal_hold_releases",
    metadata,
    Column("hold", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("released_by", Text, nullable=False),
    Column("released_at", Double, nullable=False),
)

# Who exists, and what was granted to whom: `proxy.state.access` says what each column means. Lists
# and rules are JSON, never searched inside the database. Users and grants are never deleted: who
# was removed stays known as disabled, what was revoked as revoked.
users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("disabled_at", Double),
    Column("disabled_reason", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("ix_users_changed", "changed"),
)

groups = Table(
    "groups",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("name", Text, primary_key=True),
    Column("places", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)

# Custom ones only.
roles = Table(
    "roles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("permissions", Text, nullable=False),
    Column("rules", Text, nullable=False),
    Column("denies", Text, nullable=False),
    Column("kubernetes_groups", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject_kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("scope_kind", Text, nullable=False),
    # Empty where the scope has none.
    Column("project", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("revoked_by", Text, nullable=False),
    Column("revoked_reason", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("ix_grants_changed", "changed"),
    Index("ix_grants_subject", "subject"),
    Index("ix_grants_created_at", "created_at"),
)

# API tokens: `proxy.state.tokens`. The secret itself is nowhere.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    Column("permissions", Text, nullable=False),
    # JSON of a scope; null is wherever the user's grants reach.
    Column("scope", Text),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("not_after", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revoked_at", Double),
    Column("revoked_by", Text, nullable=False),
    Column("revoked_reason", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("ix_tokens_changed", "changed"),
    Index("ix_tokens_user", "user"),
)

# From where credentials were used. Written behind the calls, and no part of a snapshot.
sightings = Table(
    "sightings",
    metadata,
    Column("user", Text, primary_key=True),
    # Serial; empty for all of the user's together.
    Column("credential", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("calls", BigInteger, nullable=False),
    # By the database's own clock: what others wrote since is read again and again.
    Column("written_at", Double, nullable=False),
    Index("ix_sightings_written_at", "written_at"),
)

# Second accounts at clusters (`proxy.state.reconcilers`), each for the cluster with that id.
reconcilers = Table(
    "reconcilers",
    metadata,
    Column("cluster", Text, primary_key=True),
    Column("cluster_id", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("enforce", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
)

# Acts that were done where no journal was (`proxy.state.notes`), until a server records them.
noted_acts = Table(
    "noted_acts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("noted_at", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("recorded_at", Double),
)
