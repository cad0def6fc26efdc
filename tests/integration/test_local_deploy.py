"""One command brings up the whole ecosystem, and a second one changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from support import ecosystem as support
from support.ecosystem import Ecosystem, Run
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SENVEC = ("replay", "sentimentrader", "alphavantage", "social", "news", "aggregator")
INSTANCES = {f"{name}@stable" for name in ("postgresql", *SENVEC, "fincoll", "pim-web", "pim-worker", "caelum-reaper")}
MEMORY_CEILING_KIB = 700 * 1024


def predict(ecosystem: Ecosystem) -> Any:
    return ecosystem.get(8001, "/predict/AAPL")


def test_the_first_deploy_ends_with_the_table_and_what_to_type_next(deployed: tuple[Ecosystem, Run]) -> None:
    ecosystem, run = deployed
    assert run.status == 0, run.output[-4000:]
    for name in INSTANCES:
        assert re.search(rf"{name} .*v\d+\.\d+\.\d+", run.output), f"{name} is not in the table"
    for line in (ecosystem.url(5000, "/"), "make down", "make logs COMPONENT=", "make clean"):
        assert line in run.output


def test_every_instance_runs_and_is_healthy(live: Ecosystem) -> None:
    assert set(live.processes()) == INSTANCES
    health = live.get(5000, "/api/system/health")
    assert health["status"] == "healthy"
    assert health["services"]["fincoll"]["version"] == "v1.1.0"
    assert set(health["services"]["senvec"]["microservices"].values()) == {"healthy"}


def test_a_prediction_comes_from_the_bootstrap_champion_with_real_sentiment(live: Ecosystem) -> None:
    answer = predict(live)
    assert answer["source"] == "sample"
    assert answer["degraded"] is False
    assert answer["model"] == answer["model"] | {"alias": "champion", "bootstrap": True, "trusted": False}
    quantiles = answer["predictions"]["AAPL"]["log_returns"]
    assert len(quantiles) == len(answer["horizons"])
    for row in quantiles:
        assert row == sorted(row)
        assert row[0] < row[-1], "a constant answer is no prediction"
    vector = live.get(18000, "/features/AAPL")
    groups = {"sentimentrader": vector["mask"][:23], "social": vector["mask"][41:64], "news": vector["mask"][64:]}
    assert sum(groups["sentimentrader"]) > 0
    assert sum(groups["news"]) > 0
    assert sum(groups["social"]) == 0, "no provider is configured, so nothing may be claimed"


def test_the_history_and_the_champion_are_recorded(live: Ecosystem) -> None:
    history = live.get(5000, "/api/deployment/history")["deployments"]
    assert {row["status"] for row in history} == {"success"}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=support.ROOT, check=True, capture_output=True, text=True)
    assert {row["git_commit"] for row in history} == {commit.stdout.strip()}
    recorded = {(row["service_name"], row["component"]) for row in history}
    assert recorded >= {("fincoll", "fincoll"), ("senvec", "news"), ("pim", "pim-web"), ("finvec", "finvec-train@llm1")}
    checkpoints = sorted(path.name for path in (live.prefix / "share/checkpoints").iterdir())
    assert [f"llm1-tech-v1.0.0.{kind}" for kind in ("json", "onnx", "pt")] == [
        name for name in checkpoints if name.startswith("llm1-tech-v1.0.0.")
    ]


def test_configuration_needs_the_token(live: Ecosystem) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        live.get(5000, "/api/config/fincoll/v1.1.0")
    assert refused.value.code == 401
    assert json.load(refused.value)["remedy"]
    config = live.get(5000, "/api/config/fincoll/v1.1.0", token=live.operator_token)
    assert config["port"] == 8001 + live.base
    assert config["senvec_url"] == live.url(18000, "")


def test_everything_listens_on_loopback_alone(live: Ecosystem) -> None:
    pids = set(live.processes().values())
    sockets = {
        match.group(1)
        for pid in pids
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if (match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()) if descriptor.is_symlink() else ""))
    }
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in sockets
    ]
    assert len(listening) >= len(INSTANCES - {"pim-worker@stable", "caelum-reaper@stable"})
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


def test_secrets_are_closed_and_never_printed(deployed: tuple[Ecosystem, Run], live: Ecosystem) -> None:
    _, run = deployed
    for path in (live.prefix / "etc/caelum/secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        assert path.read_text().split()[0] not in run.output
    for pid in live.processes().values():
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        assert live.operator_token not in environment


def test_memory_of_all_processes_stays_below_the_ceiling(live: Ecosystem) -> None:
    assert 0 < live.memory_kib() < MEMORY_CEILING_KIB


def test_a_stopped_senvec_masks_its_features_and_a_started_one_heals(live: Ecosystem) -> None:
    others = {name: pid for name, pid in live.processes().items() if name.split("@")[0] not in SENVEC}
    for name in SENVEC:
        live.supervisor.stopProcess(f"{name}@stable")
    until("degraded", lambda: predict(live)["degraded"], 15)
    start = time.monotonic()
    for _ in range(20):
        assert predict(live)["degraded"] is True
    assert (time.monotonic() - start) / 20 < 0.1, "the breaker does not keep FinColl fast"
    for name in SENVEC:
        live.supervisor.startProcess(f"{name}@stable", False)
    until("healed", lambda: not predict(live)["degraded"], 30)
    assert {name: pid for name, pid in live.processes().items() if name.split("@")[0] not in SENVEC} == others


def test_a_second_deploy_changes_nothing(live: Ecosystem) -> None:
    before = live.processes()
    run = live.playbook("deploy.yml", "-e", "version=v1.1.0")
    assert run.status == 0, run.output[-4000:]
    assert run.recap("changed") == 0, run.output[-4000:]
    assert live.processes() == before


def test_one_service_can_be_deployed_alone(live: Ecosystem) -> None:
    before = live.processes()
    run = live.playbook("deploy.yml", "-e", "version=v1.1.0", "-e", "service=fincoll", "-e", "caelum_log_level=WARNING")
    assert run.status == 0, run.output[-4000:]
    after = live.processes()
    assert {name for name in before if before[name] != after[name]} == {"fincoll@stable"}
    assert live.playbook("deploy.yml", "-e", "version=v1.1.0", "-e", "service=fincoll").status == 0
    refused = live.playbook("deploy.yml", "-e", "version=v1.1.0", "-e", "service=fincol")
    assert refused.status != 0
    assert "there is no service 'fincol'; known: senvec" in refused.output.splitlines()[-1]


def test_a_deployment_that_was_cut_off_is_gone_through_again(live: Ecosystem) -> None:
    before = live.processes()
    with live.database() as connection:
        connection.execute(
            "INSERT INTO deployment_history (service_name, component, version, action, status, inventory, requested_by)"
            " VALUES ('fincoll', 'fincoll', 'v1.1.0', 'deploy', 'failed', 'local', 'test')"
        )
    run = live.playbook("deploy.yml", "-e", "version=v1.1.0")
    assert run.status == 0, run.output[-4000:]
    newest = live.get(5000, "/api/deployment/history?service=fincoll&limit=1")["deployments"][0]
    assert newest["status"] == "success", "the history would say failed for ever"
    assert live.processes() == before, "what runs was right, and is left alone"
    assert live.playbook("deploy.yml", "-e", "version=v1.1.0").recap("changed") == 0


def test_data_survives_a_stop_and_the_next_deploy_trains_nothing(live: Ecosystem) -> None:
    rows = len(live.get(5000, "/api/deployment/history")["deployments"])
    assert live.playbook("playbooks/stop.yml").status == 0
    assert not (live.prefix / "run/supervisor.sock").exists()
    run = live.playbook("deploy.yml", "-e", "version=v1.1.0")
    assert run.status == 0, run.output[-4000:]
    assert len(live.get(5000, "/api/deployment/history")["deployments"]) >= rows
    assert not (live.prefix / "share/checkpoints/llm1-tech-v1.1.0.onnx").exists()


def test_a_run_without_a_version_or_with_none_is_refused_in_one_line(live: Ecosystem) -> None:
    assert "no version given; name one" in live.playbook("deploy.yml").output
    refused = live.playbook("deploy.yml", "-e", "version=latest")
    assert refused.status != 0
    assert "'latest' is not a version" in refused.output
