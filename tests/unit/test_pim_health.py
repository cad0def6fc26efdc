"""The specification's system health, and the rules behind its words."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pim import health, probes, pulse
from pim.probes import Probe, Status
from pim.training import SILENT, Training, TrainingReader, parse, read
from support.pim import instance

NOW = datetime(2025, 11, 8, 15, 0, tzinfo=UTC)
# The example of the specification; its timestamp is cut short there.
SPECIFIED: dict[str, Any] = json.loads(
    """
    {
      "status": "healthy",
      "timestamp": "2025-11-08T15:00:00Z",
      "services": {
        "fincoll": {
          "status": "healthy",
          "version": "v1.0.0",
          "url": "http://10.32.3.44:8001",
          "response_time_ms": 45,
          "last_prediction": "2025-11-08T14:30:00Z"
        },
        "senvec": {
          "status": "healthy",
          "version": "v1.0.0",
          "url": "http://10.32.3.27:18000",
          "microservices": {
            "sentimentrader": "healthy",
            "alphavantage": "healthy",
            "social": "degraded",
            "news": "healthy",
            "aggregator": "healthy"
          }
        },
        "finvec": {
          "status": "training",
          "current_job": "llm1-tech",
          "progress": "45%",
          "eta": "2025-11-08T18:00:00Z",
          "gpu_usage": {"10.32.3.27": "85%", "10.32.3.22": "90%", "10.32.3.44": "idle"}
        }
      }
    }
    """
)


def senvec(**states: Status) -> dict[str, Probe]:
    """SenVec's five, healthy unless said otherwise."""
    url = "http://10.32.3.27:18000"
    return {name: Probe(url, states.get(name, "healthy"), "v1.0.0", 5) for name in reversed(health.MICROSERVICES)}


def training(host: str, status: str = "idle", usage: str = "idle", progress: float | None = None) -> Training:
    eta = "2025-11-08T18:00:00Z" if status == "training" else None
    return Training(host, status, "llm1-tech" if status == "training" else None, progress, eta, usage)


def test_the_specifications_example_comes_out_field_for_field_and_in_its_order() -> None:
    fincoll = Probe(
        "http://10.32.3.44:8001", "healthy", "v1.0.0", 45, facts={"last_prediction": "2025-11-08T14:30:00Z"}
    )
    reports = [
        training("10.32.3.27", "training", "85%", 0.45),
        training("10.32.3.22", usage="90%"),
        training("10.32.3.44"),
    ]
    document = health.system_health(fincoll, senvec(social="degraded"), reports, NOW)
    assert json.dumps(document) == json.dumps(SPECIFIED)


def test_all_fields_stand_there_when_everything_is_down() -> None:
    down = health.system_health(
        Probe("http://x", "down"), {name: Probe("http://x", "down") for name in health.MICROSERVICES}, None, NOW
    )
    assert down["status"] == "down"
    for service, fields in SPECIFIED["services"].items():
        assert list(down["services"][service]) == list(fields)
    assert down["services"]["fincoll"]["version"] is None
    assert set(down["services"]["senvec"]["microservices"].values()) == {"down"}
    assert down["services"]["finvec"]["status"] == "unknown"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, "healthy"),
        ({"social": "degraded"}, "healthy"),
        ({"news": "down"}, "degraded"),
        ({"aggregator": "degraded"}, "degraded"),
        ({"aggregator": "down"}, "down"),
    ],
)
def test_senvec_is_as_well_as_its_callers_find_it(states: dict[str, Status], expected: str) -> None:
    assert health.senvec_status(senvec(**states)) == expected


@pytest.mark.parametrize(
    ("fincoll", "senvec_is", "expected"),
    [
        ("healthy", "healthy", "healthy"),
        ("healthy", "down", "degraded"),
        ("degraded", "healthy", "degraded"),
        ("down", "healthy", "down"),
    ],
)
def test_only_fincoll_takes_the_ecosystem_down(fincoll: Status, senvec_is: Status, expected: str) -> None:
    assert health.overall(fincoll, senvec_is) == expected


def test_a_training_that_fell_silent_is_stalled_and_not_shown_as_running() -> None:
    report = {"status": "training", "current_job": "llm1-tech", "progress": 1.7, "updated_at": NOW.isoformat()}
    assert parse("h", report, NOW + SILENT).status == "training"
    stalled = parse("h", report, NOW + SILENT + timedelta(seconds=1))
    assert (stalled.status, stalled.progress, stalled.gpu_usage) == ("stalled", 1.0, "none")
    assert health.finvec([stalled])["status"] == "stalled"


def test_broken_reports_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "c.json").write_text(json.dumps({"status": "idle", "updated_at": NOW.isoformat(), "gpu_usage": "7%"}))
    assert [(report.host, report.gpu_usage) for report in read(tmp_path, NOW)] == [("c", "7%")]
    assert read(tmp_path / "missing", NOW) == []


def test_a_share_that_hangs_delays_nobody_and_costs_one_thread(tmp_path: Path) -> None:
    pipe = tmp_path / "host.json"
    os.mkfifo(pipe)

    async def ask() -> None:
        reader = TrainingReader(tmp_path)
        assert await reader.read() is None
        assert await reader.read() is None
        with pipe.open("w") as writer:
            writer.write(json.dumps({"status": "idle", "updated_at": NOW.isoformat()}))
        reports = await reader.read()
        assert reports is not None
        assert [report.host for report in reports] == ["host"]

    asyncio.run(ask())


def probed(url: str, timeout_s: float = 2.0) -> Probe:
    async def ask() -> Probe:
        async with probes.client() as http:
            return await probes.probe(http, url, timeout_s)

    return asyncio.run(ask())


def test_a_probe_tells_healthy_degraded_and_down_apart() -> None:
    with instance("v1.2.3") as server:
        seen = probed(server.url)
        assert (seen.status, seen.version, seen.detail) == ("healthy", "v1.2.3", "")
        assert seen.response_time_ms is not None
        server.unready = "no champion for job llm1-tech"
        seen = probed(server.url)
        assert (seen.status, seen.detail) == ("degraded", "not ready: no champion for job llm1-tech")
        server.unready, server.health["degraded"] = "", True
        assert probed(server.url).status == "degraded"
        server.failures = server.asked + 1
        seen = probed(server.url)
        assert (seen.status, seen.detail) == ("down", f"/health answered 500 at {server.url}")
        url = server.url
    seen = probed(url)
    assert (seen.status, seen.version, seen.detail) == ("down", None, f"no connection at {url}")


def test_a_probe_ends_at_its_timeout() -> None:
    with instance() as server:
        server.delay_s = 1.0
        seen = probed(server.url, timeout_s=0.2)
    assert (seen.status, seen.detail) == ("down", f"no answer from {server.url} within 0.2 s")


def test_a_process_without_a_heartbeat_is_not_called_alive() -> None:
    assert pulse.state(None)["status"] == "never"
    assert pulse.state({"version": "v1", "age_s": 3.21}) == {"status": "alive", "version": "v1", "age_s": 3.2}
    assert pulse.state({"version": "v1", "age_s": pulse.LATE_S + 1})["status"] == "late"
