"""What a PostgreSQL server must hold before a schema: roles, their passwords, a database and who may enter it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Refused
from . import scram

if TYPE_CHECKING:
    from psycopg2 import extensions

OLDEST_VERSION = 150000


@dataclass(frozen=True)
class Role:
    """A role as it should be."""

    name: str
    password: str
    login: bool


@dataclass(frozen=True)
class Wanted:
    """The database `name`, owned by `owner`, open to `connect` and to nobody else."""

    name: str
    owner: str
    connect: tuple[str, ...]
    roles: tuple[Role, ...]


@dataclass(frozen=True)
class RoleState:
    """A role as it is; `verifier` is what the server stores of its password."""

    login: bool
    verifier: str | None


@dataclass(frozen=True)
class DatabaseState:
    """A database as it is: `connect` are the roles with that right, an empty name standing for everybody."""

    owner: str
    connect: frozenset[str]


@dataclass(frozen=True)
class Have:
    """What of the wanted things the server holds."""

    roles: Mapping[str, RoleState]
    database: DatabaseState | None


@dataclass(frozen=True)
class Step:
    """One statement: `{}` stands for an identifier, `%s` for a value. `before` and `after` are for the diff."""

    statement: str
    identifiers: tuple[str, ...]
    before: str
    after: str
    values: tuple[str, ...] = ()


def check_server(cursor: extensions.cursor) -> None:
    """Refuses a server that is too old, stores weak passwords, or gives this login too few rights."""
    cursor.execute(
        """SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                  current_setting('password_encryption'), current_setting('is_superuser')"""
    )
    number, version, encryption, superuser = cursor.fetchone() or (0, "", "", "")
    if number < OLDEST_VERSION:
        raise Refused(f"the server runs PostgreSQL {version}; at least 15 is needed: upgrade it")
    if encryption != "scram-sha-256":
        raise Refused(
            f"the server stores passwords as {encryption}; set password_encryption = 'scram-sha-256' in "
            "postgresql.conf and reload it"
        )
    if superuser != "on":
        raise Refused("the admin login is no superuser, and only one may compare passwords; give one that is")


def observe(cursor: extensions.cursor, wanted: Wanted) -> Have:
    """What the server holds of what is wanted."""
    cursor.execute(
        "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE rolname = ANY(%s)",
        ([role.name for role in wanted.roles],),
    )
    roles = {name: RoleState(login, verifier) for name, login, verifier in cursor.fetchall()}
    cursor.execute(
        """SELECT pg_get_userbyid(datdba), array(
               SELECT coalesce(rolname, '') FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS held
               LEFT JOIN pg_roles ON pg_roles.oid = held.grantee WHERE held.privilege_type = 'CONNECT')::text[]
           FROM pg_database WHERE datname = %s""",
        (wanted.name,),
    )
    row = cursor.fetchone()
    return Have(roles, DatabaseState(row[0], frozenset(row[1])) if row else None)


def plan(wanted: Wanted, have: Have) -> list[Step]:
    """The statements that lead from what there is to what is wanted; none when they are the same."""
    return [
        *(step for role in wanted.roles for step in _role_steps(role, have.roles.get(role.name))),
        *_database_steps(wanted, have.database),
    ]


def apply(cursor: extensions.cursor, steps: Iterable[Step]) -> None:
    """Run the statements, each by itself: CREATE DATABASE allows no transaction."""
    from psycopg2 import sql

    for step in steps:
        names = [sql.Identifier(name) for name in step.identifiers]
        cursor.execute(sql.SQL(step.statement).format(*names), step.values)


def _role_steps(role: Role, have: RoleState | None) -> list[Step]:
    login = "LOGIN" if role.login else "NOLOGIN"
    after = f"role {role.name}: {login.lower()}, password as given"
    if have is None:
        statement = f"CREATE ROLE {{}} {login} PASSWORD %s"
        return [Step(statement, (role.name,), f"role {role.name}: missing", after, (scram.verifier(role.password),))]
    steps = []
    if not scram.matches(have.verifier, role.password):
        verifier = scram.verifier(role.password)
        before = f"role {role.name}: another password"
        steps.append(Step("ALTER ROLE {} PASSWORD %s", (role.name,), before, after, (verifier,)))
    if have.login != role.login:
        before = f"role {role.name}: {'login' if have.login else 'nologin'}"
        steps.append(Step(f"ALTER ROLE {{}} {login}", (role.name,), before, after))
    return steps


def _database_steps(wanted: Wanted, have: DatabaseState | None) -> list[Step]:
    name, steps = wanted.name, []
    if have is None:
        create = "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0"
        steps.append(
            Step(create, (name, wanted.owner), f"database {name}: missing", f"database {name}: {wanted.owner}'s")
        )
        have = DatabaseState(wanted.owner, frozenset({"", wanted.owner}))
    if have.owner != wanted.owner:
        before, after = f"database {name}: {have.owner}'s", f"database {name}: {wanted.owner}'s"
        steps.append(Step("ALTER DATABASE {} OWNER TO {}", (name, wanted.owner), before, after))
    if "" in have.connect:
        before, after = f"database {name}: open to everybody", f"database {name}: closed to everybody else"
        steps.append(Step("REVOKE ALL ON DATABASE {} FROM PUBLIC", (name,), before, after))
    for role in _without(wanted.connect, have.connect | {wanted.owner}):
        before, after = f"database {name}: closed to {role}", f"database {name}: open to {role}"
        steps.append(Step("GRANT CONNECT ON DATABASE {} TO {}", (name, role), before, after))
    return steps


def _without(names: Sequence[str], known: frozenset[str]) -> list[str]:
    return [name for name in names if name not in known]
