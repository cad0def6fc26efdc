"""pim-web as a process, against a real database."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from caelum_common.tokens import hash_token
from support.pim import MICROSERVICES, environment, eventually, instance, web
from support.postgres import Database, Server, database, server
from support.processes import Service, free_port

pytest_plugins = ["support.postgres"]
pytestmark = pytest.mark.services

TOKEN = "a token for tests"


@pytest.fixture
def pim(migrated_database: Database, tmp_path: Path) -> Iterator[Service]:
    """pim-web where no other service runs."""
    with web(migrated_database, tmp_path) as service:
        yield service


def get(service: Service, path: str, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(service.url + path, headers=headers, timeout=10, trust_env=False)


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["remedy"]
    return document


def test_health_with_everything_down_is_quick_and_whole(pim: Service) -> None:
    begin = time.monotonic()
    response = get(pim, "/api/system/health")
    assert time.monotonic() - begin < 1.5
    assert response.status_code == 200
    document = response.json()
    assert list(document) == ["status", "timestamp", "services"]
    assert document["status"] == document["services"]["fincoll"]["status"] == "down"
    assert document["services"]["senvec"]["microservices"] == dict.fromkeys(MICROSERVICES, "down")
    status = get(pim, "/api/trading-bot/fincoll-status").json()
    assert (status["available"], status["status"]) == (False, "unavailable")
    assert "no connection at http://127.0.0.1:" in status["detail"]


def test_health_follows_what_services_answer_and_many_viewers_ask_once(
    migrated_database: Database, tmp_path: Path
) -> None:
    with instance("v1.1.0") as fincoll, instance("v2.0.0") as senvec:
        fincoll.health["last_prediction"] = "2025-11-08T14:30:00Z"
        settings = {
            "FINCOLL_URLS": json.dumps({"stable": fincoll.url}),
            "SENVEC_URL": senvec.url,
            "SENVEC_SERVICES": json.dumps(dict.fromkeys(MICROSERVICES, senvec.url)),
        }
        with web(migrated_database, tmp_path, **settings) as pim:
            documents = [get(pim, "/api/system/health").json() for _ in range(20)]
            assert fincoll.asked <= 2
            seen = documents[0]["services"]
            assert documents[0]["status"] == "healthy"
            assert seen["fincoll"]["version"] == "v1.1.0"
            assert seen["fincoll"]["last_prediction"] == "2025-11-08T14:30:00Z"
            assert seen["senvec"]["version"] == "v2.0.0"
            fincoll.unready = "no champion"
            eventually(lambda: get(pim, "/api/system/health").json()["services"]["fincoll"]["status"] == "degraded")


def test_config_needs_a_token_and_a_revoked_one_is_refused(pim: Service, migrated_database: Database) -> None:
    path = "/api/config/fincoll/v1.0.0"
    with migrated_database.connect() as sql:
        sql.execute("INSERT INTO api_tokens (name, token_sha256) VALUES ('test', %s)", (hash_token(TOKEN),))
        sql.execute(
            "INSERT INTO service_configs (service_name, version, config_json, environment, port) VALUES"
            """ ('fincoll', 'v1.0.0', '{"senvec_url": "http://10.32.3.27:18000"}', 'dev', 8001)"""
        )
        assert get(pim, path).status_code == 401
        assert "needs a service token" in problem(get(pim, path))["detail"]
        assert problem(get(pim, path, "guessed"))["status"] == 401
        assert get(pim, path, TOKEN).json() == {"port": 8001, "senvec_url": "http://10.32.3.27:18000"}
        used = sql.execute("SELECT last_used_at IS NOT NULL FROM api_tokens").fetchone()
        assert used == (True,)
        sql.execute("UPDATE api_tokens SET revoked_at = now()")
        assert problem(get(pim, path, TOKEN))["status"] == 401


def test_a_service_s_token_reads_that_service_s_configuration_alone(pim: Service, migrated_database: Database) -> None:
    with migrated_database.connect() as sql:
        for name in ("fincoll", "senvec", "operator"):
            digest = hash_token(f"token of {name}")
            sql.execute("INSERT INTO api_tokens (name, token_sha256) VALUES (%s, %s)", (name, digest))
        sql.execute(
            "INSERT INTO service_configs (service_name, version, config_json, environment) VALUES"
            " ('fincoll', 'v1.0.0', '{}', 'dev')"
        )
    path = "/api/config/fincoll/v1.0.0"
    assert get(pim, path, "token of fincoll").status_code == 200
    assert get(pim, path, "token of operator").status_code == 200
    assert problem(get(pim, path, "token of senvec"))["status"] == 401


def own_address() -> str:
    """An address of this machine that is not loopback; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("listed", [True, False])
def test_hosts_of_the_inventory_see_the_health_and_others_need_a_token(
    migrated_database: Database, tmp_path: Path, *, listed: bool
) -> None:
    mine = own_address()
    hosts = json.dumps(["10.32.3.27", *([mine] if listed else [])])
    with (
        web(migrated_database, tmp_path, CAELUM_BIND="0.0.0.0", CAELUM_HOSTS=hosts) as pim,
        migrated_database.connect() as sql,
    ):
        sql.execute("INSERT INTO api_tokens (name, token_sha256) VALUES ('test', %s)", (hash_token(TOKEN),))
        url = pim.url.replace("127.0.0.1", mine)
        for path in ("/api/system/health", "/api/trading-bot/fincoll-status"):
            answer = httpx.get(url + path, timeout=10, trust_env=False)
            assert answer.status_code == (200 if listed else 401)
            header = {"Authorization": f"Bearer {TOKEN}"}
            assert httpx.get(url + path, headers=header, timeout=10, trust_env=False).status_code == 200
            assert get(pim, path).status_code == 200
        assert httpx.get(url + "/ready", timeout=10, trust_env=False).status_code == 200


def test_an_unknown_configuration_names_those_that_exist(pim: Service, migrated_database: Database) -> None:
    with migrated_database.connect() as sql:
        sql.execute("INSERT INTO api_tokens (name, token_sha256) VALUES ('test', %s)", (hash_token(TOKEN),))
        add = (
            "INSERT INTO service_configs (service_name, version, config_json, environment, host, enabled)"
            " VALUES ('fincoll', %s, %s, 'dev', %s, %s)"
        )
        sql.execute(add, ("v1.0.0", '{"port": 1}', "a", True))
        sql.execute(add, ("v1.0.0", '{"port": 2}', "b", True))
        sql.execute(add, ("v0.9.0", "{}", None, False))
    unknown = problem(get(pim, "/api/config/fincoll/v9", TOKEN))
    assert (unknown["status"], unknown["known"]) == (404, ["v1.0.0"])
    assert problem(get(pim, "/api/config/fincoll/v0.9.0", TOKEN))["status"] == 404
    assert problem(get(pim, "/api/config/nothing/v1", TOKEN))["known"] == ["fincoll"]
    which = problem(get(pim, "/api/config/fincoll/v1.0.0", TOKEN))
    assert (which["status"], which["hosts"]) == (409, ["a", "b"])
    assert get(pim, "/api/config/fincoll/v1.0.0?host=b", TOKEN).json() == {"port": 2}


def test_history_is_the_newest_first_and_can_be_narrowed(pim: Service, migrated_database: Database) -> None:
    assert get(pim, "/api/deployment/history").json() == {"deployments": []}
    with migrated_database.connect() as sql:
        for number, service in enumerate(("fincoll", "senvec", "fincoll")):
            sql.execute(
                "INSERT INTO deployment_history (service_name, component, version, action, status, started_at)"
                " VALUES (%s, %s, %s, 'deploy', 'success', now() + %s * interval '1 min')",
                (service, service, f"v{number}", number),
            )
    everything = get(pim, "/api/deployment/history").json()["deployments"]
    assert [row["version"] for row in everything] == ["v2", "v1", "v0"]
    narrowed = get(pim, "/api/deployment/history?service=fincoll&limit=1").json()["deployments"]
    assert [row["version"] for row in narrowed] == ["v2"]
    assert problem(get(pim, "/api/deployment/history?limit=0"))["status"] == 422


def test_models_come_with_their_aliases(pim: Service, migrated_database: Database) -> None:
    with migrated_database.connect() as sql:
        for version in ("v1.0.0", "v1.1.0"):
            sql.execute(
                "INSERT INTO models (job, version, kind, checkpoint, sha256_onnx, schema_hash, manifest, bootstrap)"
                " VALUES ('llm1-tech', %s, 'ridge', 'x', repeat('a', 64), repeat('b', 64), '{}', true)",
                (version,),
            )
        sql.execute("INSERT INTO model_aliases (job, alias, model_id) VALUES ('llm1-tech', 'champion', 1)")
    models = get(pim, "/api/models").json()["models"]
    assert [(model["version"], model["aliases"]) for model in models] == [("v1.1.0", []), ("v1.0.0", ["champion"])]


@pytest.mark.parametrize(("route", "process"), [("worker", "pim-worker"), ("reaper", "caelum-reaper")])
def test_a_process_that_has_no_port_is_asked_here(
    pim: Service, migrated_database: Database, route: str, process: str
) -> None:
    silent = problem(get(pim, f"/health/{route}"))
    assert silent["status"] == 503
    assert silent["detail"] == f"{process} has sent no heartbeat yet"
    with migrated_database.connect("pim_user") as connection:
        connection.execute(
            "INSERT INTO service_health (service_name, version, status) VALUES (%s, 'v1.1.0', 'healthy')", (process,)
        )
    eventually(lambda: get(pim, f"/health/{route}").status_code == 200)
    assert get(pim, f"/health/{route}").json()["version"] == "v1.1.0"
    assert get(pim, "/health").json()[route]["status"] == "alive"


def test_an_unknown_route_is_a_problem_document(pim: Service) -> None:
    assert problem(get(pim, "/api/nothing"))["detail"] == "no route /api/nothing"


def test_the_page_forbids_foreign_content_and_foreign_origins(pim: Service) -> None:
    page = get(pim, "/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "No deployments yet" in page.text
    polled = f"{pim.url}/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert httpx.get(polled, headers={"Origin": "http://evil.example"}, trust_env=False).status_code == 400
    assert httpx.get(polled, headers={"Origin": pim.url}, trust_env=False).status_code == 200
    # A browser behind a forwarder sees, and says in both headers, the forwarder's address.
    through = {"Host": "127.0.0.1:15000", "Origin": "http://127.0.0.1:15000"}
    assert httpx.get(polled, headers=through, trust_env=False).status_code == 200


def test_a_database_lost_later_is_told_as_such_and_heals(tmp_path: Path) -> None:
    with server() as postgres, database(postgres) as db:
        db.migrate("upgrade")
        with web(db, tmp_path) as pim:
            assert get(pim, "/api/deployment/history").status_code == 200
            postgres.stop()
            lost = problem(get(pim, "/api/deployment/history"))
            assert (lost["status"], lost["title"]) == (503, "Database unavailable")
            assert "Connection refused" in lost["detail"]
            assert "Connection refused" in problem(get(pim, "/ready"))["detail"]
            assert get(pim, "/health").status_code == 200
            assert get(pim, "/api/system/health").status_code == 200
            assert "History unavailable" in get(pim, "/").text
            assert "Traceback" not in pim.log()
            postgres.start()
            assert get(pim, "/api/deployment/history").status_code == 200
            pim.wait_ready(5)


def refused(settings: dict[str, str]) -> str:
    """The last line of a pim-web that ends with exit code 78."""
    done = subprocess.run(
        [sys.executable, "-m", "pim.web"], env=settings, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 78, done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_an_old_schema_stops_the_start_in_one_line(postgres_server: Server, tmp_path: Path) -> None:
    with database(postgres_server) as empty:
        line = refused({**environment(empty, tmp_path), "PIM_PORT": str(free_port())})
    assert "the database holds no schema" in line
    assert "python -m pim.migrate upgrade" in line


def test_no_database_named_stops_the_start_in_one_line() -> None:
    assert "CREDENTIALS_DIRECTORY is not set" in refused({"PIM_PORT": str(free_port())})


def test_it_stops_within_three_seconds_with_a_connection_kept_open(pim: Service) -> None:
    with httpx.Client(base_url=pim.url, trust_env=False, timeout=10) as browser:
        browser.get("/")
        begin = time.monotonic()
        assert pim.stop() == 0
        assert time.monotonic() - begin < 3
