"""What is ours in PostgreSQL: the schemas, and the roles that stand between them and a login.

Roles are of the whole server, not of one database, and none of them can log in: a login is made a
member, and acts as one of them at a time.
"""

from enum import StrEnum
from typing import Final

SCHEMA: Final = "kubewitness"
"""Of the events, everything that guards them, and the state."""
VIEWS: Final = "kubewitness_views"
"""Of what readers see."""


class Role(StrEnum):
    """Group roles without a login."""

    OWNER = "kubewitness_owner"
    """Owns the schemas; nobody is a member outside `db upgrade`."""
    WRITER = "kubewitness_writer"
    READER = "kubewitness_reader"
    STATE = "kubewitness_state"

    @property
    def creation(self) -> str:
        """A statement that makes the role, unless it is there.

        Another database's upgrade may make it at the same moment.
        """
        return _CREATE.format(role=self)


_CREATE: Final = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
    CREATE ROLE {role} NOLOGIN NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
