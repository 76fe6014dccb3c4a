"""A note in the server's log about each change of our schema; only a superuser can have it made.

It runs with the rights of whoever changes the schema, so its function must belong to a superuser:
the schema's owner could put anything into a function of its own and wait for one to come by.
"""

from collections.abc import Callable
from typing import Any, Final

from proxy.state.roles import SCHEMA, VIEWS

_FUNCTIONS: Final = "kubewitness_log"
"""A schema of its own: the owner of `kubewitness` could drop what lies there."""

_CHANGED: Final = f"""
CREATE OR REPLACE FUNCTION {_FUNCTIONS}.changed() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  found record;
BEGIN
  -- What a GRANT or REVOKE is about is not told: each of the database is noted.
  FOR found IN SELECT command_tag, coalesce(object_identity, object_type) AS object_identity
               FROM pg_event_trigger_ddl_commands()
               WHERE schema_name IN ('{SCHEMA}', '{VIEWS}') OR command_tag IN ('GRANT', 'REVOKE') LOOP
    RAISE LOG 'kubewitness: % by % (session %): %',
      found.command_tag, current_user, session_user, found.object_identity;
  END LOOP;
END $body$"""
_DROPPED: Final = f"""
CREATE OR REPLACE FUNCTION {_FUNCTIONS}.dropped() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  found record;
BEGIN
  FOR found IN SELECT object_type, object_identity FROM pg_event_trigger_dropped_objects()
               WHERE original AND schema_name IN ('{SCHEMA}', '{VIEWS}') LOOP
    RAISE LOG 'kubewitness: DROP by % (session %): % %',
      current_user, session_user, found.object_type, found.object_identity;
  END LOOP;
END $body$"""
_REWRITTEN: Final = f"""
CREATE OR REPLACE FUNCTION {_FUNCTIONS}.rewritten() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF (SELECT relnamespace::regnamespace::text FROM pg_class
      WHERE oid = pg_event_trigger_table_rewrite_oid()) IN ('{SCHEMA}', '{VIEWS}') THEN
    RAISE LOG 'kubewitness: table rewritten by % (session %): %',
      current_user, session_user, pg_event_trigger_table_rewrite_oid()::regclass;
  END IF;
END $body$"""


async def install(connection: Any, *, superuser: bool, say: Callable[[str], None]) -> None:  # noqa: ANN401
    """Make the event triggers, or say why not."""
    if not superuser:
        say("event triggers skipped: only a superuser can make them")
        return
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_FUNCTIONS}")
        for name, moment, body in (
            ("changed", "ddl_command_end", _CHANGED),
            ("dropped", "sql_drop", _DROPPED),
            ("rewritten", "table_rewrite", _REWRITTEN),
        ):
            trigger = f"kubewitness_{name}"
            await connection.execute(body)
            await connection.execute(f"REVOKE ALL ON FUNCTION {_FUNCTIONS}.{name}() FROM PUBLIC")
            await connection.execute(f"DROP EVENT TRIGGER IF EXISTS {trigger}")
            await connection.execute(
                f"CREATE EVENT TRIGGER {trigger} ON {moment} EXECUTE FUNCTION {_FUNCTIONS}.{name}()"
            )
            await connection.execute(f"ALTER EVENT TRIGGER {trigger} ENABLE ALWAYS")
    say("event triggers: changes of the schema are written to the server's log")
