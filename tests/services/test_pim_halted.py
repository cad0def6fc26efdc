"""PIM in front of a real FinColl that is halted: it says so everywhere, and promises predictions to nobody."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pim.dashboard.words import state
from pim.fincoll import FinCollUnavailable, outlook
from pim.health import fincoll_status, overall
from pim.probes import Probe, client, probe
from support.checkpoints import write_checkpoint
from support.fincoll import EnvFile, fincoll
from support.pim import eventually, web, worker
from support.postgres import Database
from support.processes import Service

pytest_plugins = ["support.postgres"]
pytestmark = pytest.mark.services

MADE = {"by": "jane", "at": "2025-06-02T08:00:00Z", "reason": "the split of AAPL"}
LINE = "halted by jane at 2025-06-02T08:00:00Z: the split of AAPL"


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "halted.json"


@pytest.fixture
def running(tmp_path: Path, flag: Path) -> Iterator[Service]:
    env = EnvFile(tmp_path, CAELUM_STATE_DIR=tmp_path)
    env.champion(write_checkpoint(tmp_path))
    with fincoll(env) as (service, _):
        yield service


def test_system_health_and_the_trading_bots_route_say_halted(
    migrated_database: Database, tmp_path: Path, flag: Path, running: Service
) -> None:
    flag.write_text(json.dumps(MADE))
    with web(migrated_database, tmp_path, FINCOLL_URLS=json.dumps({"stable": running.url})) as pim:

        def get(path: str) -> dict:
            answer: dict = httpx.get(pim.url + path, timeout=10, trust_env=False).json()
            return answer

        health = get("/api/system/health")
        assert (health["status"], health["services"]["fincoll"]["status"]) == ("degraded", "halted")
        status = get("/api/trading-bot/fincoll-status")
        assert (status["available"], status["status"]) == (False, "halted")
        assert status["detail"].startswith(LINE)
        flag.unlink()
        eventually(lambda: get("/api/trading-bot/fincoll-status")["available"])
        assert get("/api/system/health")["services"]["fincoll"]["status"] != "halted"


def test_the_monitor_records_who_halted_and_why(
    migrated_database: Database, tmp_path: Path, flag: Path, running: Service
) -> None:
    flag.write_text(json.dumps(MADE))
    query = "SELECT status, metadata->>'detail' FROM service_health WHERE service_name = 'fincoll'"
    watched = {"FINCOLL_URLS": json.dumps({"stable": running.url})}
    with worker(migrated_database, tmp_path, **watched), migrated_database.connect() as sql:
        status, detail = eventually(lambda: sql.execute(query).fetchone())
    assert status == "degraded", "the specification's column knows no other word for it"
    assert detail.startswith(LINE)


def test_the_page_names_the_halt_and_the_way_out(flag: Path, running: Service) -> None:
    flag.write_text(json.dumps(MADE))

    async def ask() -> tuple[FinCollUnavailable, Probe]:
        async with client() as http:
            with pytest.raises(FinCollUnavailable) as caught:
                await outlook(http, running.url, "llm1-tech", ["AAPL"], 5)
            return caught.value, await probe(http, running.url, 5)

    refusal, seen = asyncio.run(ask())
    assert refusal.halted
    assert "the split of AAPL (halted by jane at" in str(refusal)
    assert "ansible-playbook resume.yml" in str(refusal)
    assert (seen.status, fincoll_status(seen), overall(seen.status, "healthy")) == ("degraded", "halted", "degraded")
    assert 'class="state bad">halted<' in state("halted")


def test_a_halt_in_doubt_is_told_and_what_is_down_is_not_called_halted() -> None:
    doubt = Probe("http://x", "degraded", facts={"halted": {"trouble": "/x is there and cannot be read"}})
    assert fincoll_status(doubt) == "halted"
    assert fincoll_status(Probe("http://x", "down", facts={"halted": MADE})) == "down"
    assert fincoll_status(Probe("http://x", "healthy", facts={"halted": None})) == "healthy"
