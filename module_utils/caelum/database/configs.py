"""Rows of `service_configs` and `api_tokens`: what they hold, what they should hold, and the difference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Refused

if TYPE_CHECKING:
    from psycopg2 import extensions

SECRET_KEY = re.compile(r"passw(or)?d|secret|token|api_?key|private_?key", re.IGNORECASE)
# Keys that name a secret without holding it: where it lies, what its hash is, how long it lives.
ABOUT_A_SECRET = re.compile(r"_(sha256|hash|file|path|dir|url|ttl_s|name)$", re.IGNORECASE)
LOGIN_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Config:
    """One row of `service_configs`; `host` is empty where the row is for all hosts."""

    service: str
    version: str
    environment: str
    host: str
    port: int | None
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The row's key in words."""
        return f"{self.service} {self.version} {self.environment}" + (f" on {self.host}" if self.host else "")

    def content(self) -> dict[str, Any]:
        """What the row says, for comparison and for the diff."""
        return {"port": self.port, "config": self.config}


@dataclass(frozen=True)
class Token:
    """One row of `api_tokens`: a service token's hash and what it opens."""

    name: str
    sha256: str
    scopes: tuple[str, ...]
    revoked: bool = False

    def content(self) -> dict[str, Any]:
        """What the row says; of the hash as much as tells two apart."""
        return {"sha256": f"{self.sha256[:8]}…", "scopes": list(self.scopes)}


@dataclass(frozen=True)
class Plan:
    """Rows to write, and the state before and after of those alone."""

    configs: tuple[Config, ...]
    tokens: tuple[Token, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def __bool__(self) -> bool:
        """Whether anything will change."""
        return bool(self.configs or self.tokens)

    def diff(self) -> dict[str, str]:
        """The plan as `--diff` shows it."""
        return {"before": _pretty(self.before), "after": _pretty(self.after)}


def check(configs: Sequence[Config], tokens: Sequence[Token]) -> None:
    """Refuses what must not be stored: secrets in the clear, hashes that are none, keys named twice."""
    for config in configs:
        for path in secrets_in(config.config):
            raise Refused(
                f"the configuration of {config.name} holds a secret in the clear under {path!r}; "
                "hand it over as a credential file and leave the key out"
            )
    for token in tokens:
        if not SHA256.fullmatch(token.sha256):
            raise Refused(
                f"the hash of token {token.name!r} is not 64 hexadecimal digits; "
                "pass the token through `hash('sha256')`, never the token itself"
            )
    for kind, names in (("configuration", [c.name for c in configs]), ("token", [t.name for t in tokens])):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Refused(f"the {kind} of {twice[0]} is given twice; keep one of them")


def secrets_in(value: object, path: str = "", *, suspect: bool = False) -> Iterator[str]:
    """Paths below `value` whose text is, by its key or its form, a secret."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            named = suspect or bool(SECRET_KEY.search(str(key)))
            yield from secrets_in(inner, below, suspect=named and not ABOUT_A_SECRET.search(str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from secrets_in(inner, f"{path}[{index}]", suspect=suspect)
    elif isinstance(value, str) and ((suspect and value) or LOGIN_IN_URL.search(value)):
        yield path


def observe(
    cursor: extensions.cursor, configs: Sequence[Config], tokens: Sequence[Token]
) -> tuple[dict[str, Config], dict[str, Token]]:
    """The rows that there are of those wanted, by name."""
    have: dict[str, Config] = {}
    if configs:
        cursor.execute(
            """SELECT service_name, version, environment, coalesce(host, ''), port, config_json
               FROM service_configs WHERE (service_name, version, environment, coalesce(host, '')) IN %s""",
            (tuple((c.service, c.version, c.environment, c.host) for c in configs),),
        )
        have = {row.name: row for row in (Config(*found) for found in cursor.fetchall())}
    known: dict[str, Token] = {}
    if tokens:
        cursor.execute(
            "SELECT name, token_sha256, scopes, revoked_at IS NOT NULL FROM api_tokens WHERE name = ANY(%s)",
            ([token.name for token in tokens],),
        )
        known = {name: Token(name, sha256, tuple(scopes), revoked) for name, sha256, scopes, revoked in cursor}
    return have, known


def plan(
    configs: Sequence[Config], tokens: Sequence[Token], have: Mapping[str, Config], known: Mapping[str, Token]
) -> Plan:
    """What to write so that the rows say what is wanted. Refused for a token that somebody revoked."""
    new_configs = tuple(c for c in configs if c.name not in have or have[c.name].content() != c.content())
    new_tokens = tuple(t for t in tokens if known.get(t.name) != t)
    for token in new_tokens:
        old = known.get(token.name)
        if old and old.revoked and old.sha256 == token.sha256:
            raise Refused(
                f"token {token.name!r} was revoked; make a new one in the vault and deploy again, this one stays closed"
            )
    before = {c.name: have[c.name].content() for c in new_configs if c.name in have}
    after = {c.name: c.content() for c in new_configs}
    before |= {f"token {t.name}": known[t.name].content() for t in new_tokens if t.name in known}
    after |= {f"token {t.name}": t.content() for t in new_tokens}
    return Plan(new_configs, new_tokens, before, after)


def apply(cursor: extensions.cursor, planned: Plan) -> None:
    """Write the plan's rows; a token whose hash changes counts as made now, and is no longer revoked."""
    for row in planned.configs:
        cursor.execute(
            """INSERT INTO service_configs (service_name, version, environment, host, port, config_json)
               VALUES (%s, %s, %s, nullif(%s, ''), %s, %s)
               ON CONFLICT (service_name, version, environment, coalesce(host, ''))
               DO UPDATE SET port = excluded.port, config_json = excluded.config_json, updated_at = now()""",
            (row.service, row.version, row.environment, row.host, row.port, json.dumps(row.config, sort_keys=True)),
        )
    for token in planned.tokens:
        cursor.execute(
            """INSERT INTO api_tokens AS have (name, token_sha256, scopes) VALUES (%s, %s, %s)
               ON CONFLICT (name) DO UPDATE SET
                   scopes = excluded.scopes,
                   created_at = CASE WHEN have.token_sha256 = excluded.token_sha256 THEN have.created_at ELSE now() END,
                   token_sha256 = excluded.token_sha256,
                   revoked_at = NULL""",
            (token.name, token.sha256, list(token.scopes)),
        )


def _pretty(state: Mapping[str, Any]) -> str:
    return json.dumps(state, indent=2, sort_keys=True, ensure_ascii=False) + "\n" if state else ""
