"""What a PostgreSQL server must hold before a schema: roles, their passwords, a database and who may enter it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import Refused
from . import scram

if TYPE_CHECKING:
    from psycopg2 import extensions

OLDEST_VERSION = 150000
# Databases that every server has, open to everybody who has a login.
COMMON = ("postgres", "template1")
POWERS = {
    "rolsuper": "SUPERUSER",
    "rolcreatedb": "CREATEDB",
    "rolcreaterole": "CREATEROLE",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}


@dataclass(frozen=True)
class Role:
    """A role as it should be: a login at most, without any power over the server."""

    name: str
    password: str = field(repr=False)
    login: bool


@dataclass(frozen=True)
class Wanted:
    """The database `name`, owned by `owner`, open to `connect` and to nobody else.

    With `alone` the server serves this database only, and its common ones are closed to everybody but superusers.
    """

    name: str
    owner: str
    connect: tuple[str, ...]
    roles: tuple[Role, ...]
    alone: bool = False


@dataclass(frozen=True)
class Admin:
    """The login that makes it: a superuser, or one that may make roles and databases, as a managed server gives it."""

    name: str
    is_superuser: bool
    server_version: int


@dataclass(frozen=True)
class RoleState:
    """A role as it is; `powers` are what it may do to the server and should not."""

    login: bool
    has_password: bool
    powers: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatabaseState:
    """A database as it is: `connect` are the roles with that right, an empty name standing for everybody."""

    owner: str
    connect: frozenset[str]


@dataclass(frozen=True)
class Have:
    """What of the wanted things the server holds; `acts_as_owner` says whether the admin has the owner's rights."""

    roles: Mapping[str, RoleState]
    database: DatabaseState | None
    acts_as_owner: bool = True
    open_to_all: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One statement: `{}` stands for an identifier, `%s` for a value. `before` and `after` are for the diff."""

    statement: str
    identifiers: tuple[str, ...]
    before: str
    after: str
    values: tuple[str, ...] = ()


def check_server(cursor: extensions.cursor) -> Admin:
    """Who asks; refuses a server that is too old, stores weak passwords, or gives this login too few rights."""
    cursor.execute(
        """SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                  current_setting('password_encryption'), rolname, rolsuper, rolcreaterole AND rolcreatedb
           FROM pg_roles WHERE rolname = current_user"""
    )
    number, version, encryption, name, superuser, makes = cursor.fetchone() or (0, "", "", "", False, False)
    if number < OLDEST_VERSION:
        raise Refused(f"the server runs PostgreSQL {version}; at least 15 is needed: upgrade it")
    if encryption != "scram-sha-256":
        raise Refused(
            f"the server stores passwords as {encryption}; set password_encryption = 'scram-sha-256' in "
            "postgresql.conf and reload it"
        )
    if not (superuser or makes):
        raise Refused(
            f"the admin login {name} is no superuser and may not make roles and databases; "
            f"`ALTER ROLE {name} CREATEROLE CREATEDB`, or give another in postgresql_admin_user"
        )
    return Admin(name, superuser, number)


def observe(cursor: extensions.cursor, wanted: Wanted, admin: Admin, enters: Callable[[Role], bool]) -> Have:
    """What the server holds of what is wanted.

    Only a superuser may compare what is stored of a password; for another admin `enters` tries the role's login.
    """
    names = [role.name for role in wanted.roles]
    table = "pg_authid" if admin.is_superuser else "pg_roles"
    cursor.execute(
        f"SELECT rolname, rolcanlogin, rolpassword, {', '.join(POWERS)} FROM {table} WHERE rolname = ANY(%s)",  # noqa: S608
        (names,),
    )
    given = {role.name: role for role in wanted.roles}
    roles = {}
    for name, login, verifier, *held in cursor.fetchall():
        same = scram.matches(verifier, given[name].password) if admin.is_superuser else enters(given[name])
        powers = tuple(power for power, holds in zip(POWERS.values(), held, strict=True) if holds)
        roles[name] = RoleState(login, same, powers)
    return Have(
        roles,
        _database(cursor, wanted.name),
        admin.is_superuser or _acts_as(cursor, wanted.owner),
        _open_to_all(cursor) if wanted.alone and admin.is_superuser else (),
    )


def plan(wanted: Wanted, have: Have, admin: Admin) -> list[Step]:
    """The statements that lead from what there is to what is wanted; none when they are the same."""
    return [
        *(step for role in wanted.roles for step in _role_steps(role, have.roles.get(role.name))),
        *_membership_steps(wanted, have, admin),
        *_database_steps(wanted, have.database),
        *(_closing_step(name) for name in have.open_to_all),
    ]


def apply(cursor: extensions.cursor, steps: Iterable[Step]) -> None:
    """Run the statements, each by itself: CREATE DATABASE allows no transaction."""
    from psycopg2 import sql

    for step in steps:
        names = [sql.Identifier(name) for name in step.identifiers]
        cursor.execute(sql.SQL(step.statement).format(*names), step.values)


def _database(cursor: extensions.cursor, name: str) -> DatabaseState | None:
    cursor.execute(
        """SELECT pg_get_userbyid(datdba), array(
               SELECT coalesce(rolname, '') FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS held
               LEFT JOIN pg_roles ON pg_roles.oid = held.grantee WHERE held.privilege_type = 'CONNECT')::text[]
           FROM pg_database WHERE datname = %s""",
        (name,),
    )
    row = cursor.fetchone()
    return DatabaseState(row[0], frozenset(row[1])) if row else None


def _acts_as(cursor: extensions.cursor, owner: str) -> bool:
    cursor.execute("SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = %s", (owner,))
    row = cursor.fetchone()
    return bool(row and row[0])


def _open_to_all(cursor: extensions.cursor) -> tuple[str, ...]:
    cursor.execute(
        """SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS held
           WHERE datname = ANY(%s) AND held.grantee = 0 AND held.privilege_type = 'CONNECT' ORDER BY 1""",
        (list(COMMON),),
    )
    return tuple(name for (name,) in cursor.fetchall())


def _closing_step(name: str) -> Step:
    before, after = f"database {name}: open to everybody", f"database {name}: closed to everybody else"
    return Step("REVOKE ALL ON DATABASE {} FROM PUBLIC", (name,), before, after)


def _role_steps(role: Role, have: RoleState | None) -> list[Step]:
    login = "LOGIN" if role.login else "NOLOGIN"
    after = f"role {role.name}: {login.lower()}, password as given"
    if have is None:
        statement = f"CREATE ROLE {{}} {login} PASSWORD %s"
        return [Step(statement, (role.name,), f"role {role.name}: missing", after, (scram.verifier(role.password),))]
    steps = []
    if not have.has_password:
        verifier = scram.verifier(role.password)
        before = f"role {role.name}: another password"
        steps.append(Step("ALTER ROLE {} PASSWORD %s", (role.name,), before, after, (verifier,)))
    if have.login != role.login:
        before = f"role {role.name}: {'login' if have.login else 'nologin'}"
        steps.append(Step(f"ALTER ROLE {{}} {login}", (role.name,), before, after))
    if have.powers:
        held = ", ".join(have.powers).lower()
        none = " ".join(f"NO{power}" for power in have.powers)
        before, after = f"role {role.name}: {held}", f"role {role.name}: no power over the server"
        steps.append(Step(f"ALTER ROLE {{}} {none}", (role.name,), before, after))
    return steps


def _membership_steps(wanted: Wanted, have: Have, admin: Admin) -> list[Step]:
    """An admin that is no superuser gives away a database, and dumps it, only as a member of its owner."""
    if have.acts_as_owner or wanted.owner == admin.name:
        return []
    before, after = f"role {admin.name}: not {wanted.owner}'s member", f"role {admin.name}: {wanted.owner}'s member"
    return [Step("GRANT {} TO {}", (wanted.owner, admin.name), before, after)]


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
        steps.append(_closing_step(name))
    for role in _without(wanted.connect, have.connect | {wanted.owner}):
        before, after = f"database {name}: closed to {role}", f"database {name}: open to {role}"
        steps.append(Step("GRANT CONNECT ON DATABASE {} TO {}", (name, role), before, after))
    return steps


def _without(names: Sequence[str], known: frozenset[str]) -> list[str]:
    return [name for name in names if name not in known]
