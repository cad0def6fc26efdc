"""The specification's system health, and the rules behind its words."""

import asyncio
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import Request
from fastapi.routing import APIRoute

from caelum_common.errors import Problem
from pim import health, neighbours, probes, pulse, routes
from pim import training as training_reports
from pim.probes import Probe, Status
from pim.training import SILENT, Training, TrainingReader, parse, read
from support.pim import eventually, instance

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


def test_a_share_that_hangs_delays_nobody_and_costs_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"status": "idle", "updated_at": NOW.isoformat()}))
    reader = TrainingReader(tmp_path, every_s=0.01)
    reader.start()
    pipe = tmp_path / "host.json"
    os.mkfifo(pipe)
    eventually(lambda: reader.age_s() > 0.3)
    before = threading.active_count()
    begin = time.monotonic()
    for _ in range(50):
        assert [report.host for report in reader.known() or ()] == ["a"]
    assert time.monotonic() - begin < 0.1
    assert threading.active_count() == before
    monkeypatch.setattr(training_reports, "KNOWN_FOR_S", 0.1)
    assert reader.known() is None
    monkeypatch.undo()
    writer = os.open(pipe, os.O_RDWR)
    pipe.unlink()
    os.close(writer)  # the read that hung ends, and the next ones find no pipe
    eventually(lambda: reader.age_s() < 0.1)
    assert [report.host for report in reader.known() or ()] == ["a"]
    reader.stop()


def test_the_newest_report_tells_a_gpu_s_use_and_an_old_one_tells_nothing(tmp_path: Path) -> None:
    def told(name: str, minutes: int, **fields: str) -> None:
        at = (NOW - timedelta(minutes=minutes)).isoformat()
        (tmp_path / f"{name}.json").write_text(json.dumps({"updated_at": at, **fields}))

    told("10.32.3.27", 0, status="training", gpu_usage="85%")
    told("10.32.3.27.gpu", 1, gpu_usage="idle")
    told("10.32.3.22.gpu", 1, gpu_usage="90%")
    told("10.32.3.44", 60, status="idle", gpu_usage="70%")
    told("10.32.3.44.gpu", 6, gpu_usage="71%")
    told("10.32.3.62.gpu", 600, gpu_usage="none")
    reports = read(tmp_path, NOW)
    assert health.finvec(reports)["gpu_usage"] == {
        "10.32.3.22": "90%",
        "10.32.3.27": "85%",
        "10.32.3.44": "unknown",
        "10.32.3.62": "none",
    }
    assert [report.status for report in reports] == ["idle", "training", "idle", "idle"]


@pytest.mark.parametrize(
    ("caller", "passes"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.32.3.44", True),
        ("::ffff:10.32.3.44", True),
        ("10.32.3.45", False),
        ("not an address", False),
        ("", False),
    ],
)
def test_this_machine_and_the_inventory_s_hosts_need_no_token(caller: str, passes: bool) -> None:
    asked = []

    async def guard(_request: Request) -> str:
        asked.append(caller)
        return "somebody"

    request = Request({"type": "http", "client": (caller, 1)})
    asyncio.run(neighbours.or_token(["10.32.3.44"], guard)(request))
    assert asked == ([] if passes else [caller])


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


@pytest.mark.parametrize(
    ("fleet", "log"), [(True, "journalctl -u pim-worker"), (False, "make logs COMPONENT=pim-worker")]
)
def test_a_process_that_says_nothing_is_told_with_its_log(fleet: bool, log: str) -> None:
    class Silent:
        def trouble(self, name: str) -> str:
            return f"no heartbeat of {name}"

    (route,) = routes.portless(cast("pulse.Pulse", Silent()), fleet=fleet).routes
    assert isinstance(route, APIRoute)
    with pytest.raises(Problem) as told:
        asyncio.run(route.endpoint("worker"))
    assert told.value.remedy == f"read its log: {log}"
