"""Rights within the database that are more than a role needs. What each needs, the migrations grant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .provision import Step

if TYPE_CHECKING:
    from psycopg2 import extensions

APPEND_ONLY = ("audit_log",)
# The first three are no part of what a service does to rows; PostgreSQL 17 added the fourth.
NEVER = ("TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")

# By its own name: what a role has as the database's owner of today may be gone after this very run.
MAKES_TABLES = """
SELECT pg_get_userbyid(nspowner) IN (%(owner)s, 'pg_database_owner') OR EXISTS (
    SELECT FROM aclexplode(nspacl) WHERE privilege_type = 'CREATE'
    AND pg_get_userbyid(grantee) IN (%(owner)s, 'pg_database_owner'))
FROM pg_namespace WHERE nspname = 'public'
"""
CREATORS = """
SELECT coalesce(pg_roles.rolname, '')
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS held
LEFT JOIN pg_roles ON pg_roles.oid = held.grantee
WHERE nspname = 'public' AND held.privilege_type = 'CREATE'
  AND (held.grantee = 0 OR pg_roles.rolname = ANY(%(roles)s))
"""
# The queue's own tables are its own affair.
TABLES = """
SELECT relname, coalesce(pg_roles.rolname, ''), string_agg(held.privilege_type, ', ' ORDER BY held.privilege_type)
FROM pg_class, aclexplode(relacl) AS held LEFT JOIN pg_roles ON pg_roles.oid = held.grantee
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname NOT LIKE 'procrastinate%%'
  AND (held.grantee = 0 OR pg_roles.rolname = ANY(%(roles)s) AND (
      held.privilege_type = ANY(%(never)s)
      OR relname = ANY(%(append_only)s) AND held.privilege_type IN ('UPDATE', 'DELETE')))
GROUP BY 1, 2 ORDER BY 1, 2
"""


def excess(cursor: extensions.cursor, owner: str, roles: Sequence[str]) -> list[Step]:
    """Steps that take from `roles` and from everybody what they don't need, and let `owner` make tables.

    A database that is older than PostgreSQL 15 lets everybody make tables in its schema `public`.
    """
    values = {"owner": owner, "roles": list(roles), "never": list(NEVER), "append_only": list(APPEND_ONLY)}
    steps = []
    cursor.execute(MAKES_TABLES, values)
    row = cursor.fetchone()
    if row and not row[0]:
        steps.append(
            Step(
                "GRANT USAGE, CREATE ON SCHEMA public TO {}",
                (owner,),
                f"schema public: closed to {owner}",
                f"schema public: {owner} makes tables",
            )
        )
    cursor.execute(CREATORS, values)
    for (grantee,) in cursor.fetchall():
        before = f"schema public: {grantee or 'everybody'} makes tables"
        after = f"schema public: {grantee or 'everybody'} makes none"
        steps.append(_revoke("CREATE ON SCHEMA public", (), grantee, before, after))
    cursor.execute(TABLES, values)
    for table, grantee, held in cursor.fetchall():
        before = f"table {table}: {grantee or 'everybody'} has {held.lower()}"
        steps.append(_revoke(f"{held} ON {{}}", (table,), grantee, before, f"table {table}: taken away"))
    return steps


def _revoke(what: str, names: tuple[str, ...], grantee: str, before: str, after: str) -> Step:
    whom = "{}" if grantee else "PUBLIC"
    return Step(f"REVOKE {what} FROM {whom}", (*names, *((grantee,) if grantee else ())), before, after)
