"""`caelum_config` against a real PostgreSQL: one truth per row, changes told, secrets kept out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible.module_utils.caelum.database.configs import secrets_in

from support.modules import run_module
from support.postgres import Database

pytest_plugins = ["support.postgres", "support.modules"]


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def config(**more: Any) -> dict[str, Any]:
    return {
        "service": "fincoll",
        "version": "v1.1.0",
        "environment": "dev",
        "host": "127.0.0.1",
        "port": 8001,
        "config": {"port": 8001, "senvec_url": "http://127.0.0.1:18000", "credentials_dir": "/etc/caelum"},
        **more,
    }


def write(login: dict[str, Any], *configs: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("caelum_config", {"database": login, "configs": list(configs), **more}, check=check)


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT host, port, config_json, updated_at FROM service_configs ORDER BY id"
        ).fetchall()


def test_a_configuration_is_written_once_and_then_only_when_it_changes(
    migrated_database: Database, login: dict[str, Any]
) -> None:
    rehearsed = write(login, config(), check=True)
    assert (rehearsed["changed"], stored(migrated_database)) == (True, [])
    first = write(login, config())
    assert first["rows"] == ["fincoll v1.1.0 dev on 127.0.0.1"]
    assert first["diff"] == rehearsed["diff"]
    (row,) = stored(migrated_database)
    assert row[:3] == ("127.0.0.1", 8001, config()["config"])

    again = write(login, config())
    assert (again["changed"], again["rows"]) == (False, [])
    assert again["diff"] == {"before": "", "after": ""}
    assert stored(migrated_database) == [row]

    changed = write(login, config(port=8101, config={**config()["config"], "port": 8101}))
    assert changed["changed"]
    assert json.loads(changed["diff"]["before"])["fincoll v1.1.0 dev on 127.0.0.1"]["port"] == 8001
    assert json.loads(changed["diff"]["after"])["fincoll v1.1.0 dev on 127.0.0.1"]["port"] == 8101
    (now,) = stored(migrated_database)
    assert now[1] == 8101
    assert now[3] > row[3]


def test_the_row_for_all_hosts_is_one_row_too(migrated_database: Database, login: dict[str, Any]) -> None:
    everywhere = {key: value for key, value in config().items() if key not in {"host", "port"}}
    assert write(login, everywhere, config())["changed"]
    assert not write(login, everywhere, config())["changed"]
    assert [row[:2] for row in stored(migrated_database)] == [(None, None), ("127.0.0.1", 8001)]


def test_one_bad_row_leaves_all_unwritten(migrated_database: Database, login: dict[str, Any]) -> None:
    refused = write(login, config(), config(service="pim", port=70000))
    assert "service_configs_port_check" in refused["msg"]
    assert stored(migrated_database) == []
    assert "is given twice" in write(login, config(), config())["msg"]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"api_token": "hunter2"}, "api_token"),
        ({"database": {"PASSWORD": "hunter2"}}, "database.PASSWORD"),
        ({"tokens": {"pim": "hunter2"}}, "tokens.pim"),
        ({"senvec_url": "http://jane:hunter2@127.0.0.1"}, "senvec_url"),
        ({"feeds": ["http://jane:hunter2@example.com/rss"]}, "feeds[0]"),
    ],
)
def test_a_secret_in_the_clear_is_refused_and_not_repeated(
    migrated_database: Database, login: dict[str, Any], content: dict[str, Any], path: str
) -> None:
    refused = write(login, config(config=content))
    assert f"holds a secret in the clear under '{path}'" in refused["msg"]
    assert "hunter2" not in refused["msg"]
    assert stored(migrated_database) == []


def test_what_only_speaks_about_a_secret_passes() -> None:
    harmless = {
        "caelum_tokens_sha256": {"pim": digest("x")},
        "token_file": "/etc/caelum/token",
        "token_ttl_s": 1200,
        "password": "",
        "secret_count": 3,
        "senvec_url": "http://127.0.0.1:18000/a@b",
    }
    assert list(secrets_in(harmless)) == []


def test_a_token_rotates_when_its_hash_changes(migrated_database: Database, login: dict[str, Any]) -> None:
    token = {"name": "operator", "sha256": digest("one"), "scopes": ["deploy", "config"]}
    assert write(login, tokens=[token])["rows"] == ["token operator"]
    assert not write(login, tokens=[token])["changed"]
    rotated = write(login, tokens=[{**token, "sha256": digest("two")}])
    assert rotated["changed"]
    assert digest("two")[:8] in rotated["diff"]["after"]
    assert digest("two") not in json.dumps(rotated["diff"])
    assert write(login, tokens=[{**token, "sha256": digest("two"), "scopes": ["config"]}])["changed"]
    with migrated_database.connect() as connection:
        rows = connection.execute("SELECT name, token_sha256, scopes FROM api_tokens").fetchall()
    assert rows == [("operator", digest("two"), ["config"])]


def test_a_revoked_token_is_not_opened_again_by_a_deploy(migrated_database: Database, login: dict[str, Any]) -> None:
    token = {"name": "operator", "sha256": digest("one")}
    write(login, tokens=[token])
    with migrated_database.connect() as connection:
        connection.execute("UPDATE api_tokens SET revoked_at = now()")
    assert "token 'operator' was revoked" in write(login, tokens=[token])["msg"]
    assert write(login, tokens=[{**token, "sha256": digest("two")}])["changed"]
    with migrated_database.connect() as connection:
        assert connection.execute("SELECT revoked_at FROM api_tokens").fetchall() == [(None,)]


def test_a_token_itself_is_refused_where_its_hash_belongs(login: dict[str, Any]) -> None:
    refused = write(login, tokens=[{"name": "operator", "sha256": "the-token"}])
    assert "is not 64 hexadecimal digits" in refused["msg"]
    assert "the-token" not in refused["msg"]
