"""The data that roles hand over: instances, probes, and the table at the end."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.caelum import report, topology

PORTS = {"sentimentrader": 18001, "news": "18004", "aggregator": 18000}
SETTINGS = {"CAELUM_BIND": "127.0.0.1"}


def senvec(**more: Any) -> list[dict[str, Any]]:
    return topology.senvec_instances(PORTS, SETTINGS, "v1.1.0", {"news": "v1.0.3"}, **more)


def test_each_microservice_is_an_instance_at_its_own_port_and_version() -> None:
    instances = {item["name"]: item for item in senvec()}
    assert list(instances) == ["sentimentrader@stable", "news@stable", "aggregator@stable"]
    assert instances["news@stable"]["release"] == "v1.0.3"
    assert instances["aggregator@stable"]["release"] == "v1.1.0"
    assert instances["news@stable"]["port"] == 18004
    assert instances["news@stable"]["environment"]["SENVEC_COMPONENT"] == "news"


def test_the_feed_server_runs_only_when_asked_for() -> None:
    assert senvec(replay_port=18090)[0]["command"] == ["{python}", "-m", "senvec.replay"]
    assert all(item["component"] != "replay" for item in senvec())


def test_a_candidate_gets_its_own_port_and_slot() -> None:
    ports = {"stable": 8001, "candidate": 8002}
    stable, candidate = topology.fincoll_instances(["stable", "candidate"], SETTINGS, "v2.0.0", ports)
    assert (stable["port"], candidate["port"]) == (8001, 8002)
    assert candidate["environment"]["CAELUM_SLOT"] == "candidate"
    assert candidate["port_variable"] == "fincoll_candidate_port"


def test_a_microservice_at_a_version_of_its_own_is_built_too() -> None:
    catalogue = [{"name": "senvec", "version": "v1.1.0", "lock": "l"}, {"name": "pim", "version": "v1.1.0"}]
    built = topology.releases(catalogue, {"news": "v1.0.3", "social": "v1.0.3", "aggregator": "v1.1.0"})
    assert [(item["name"], item["version"]) for item in built] == [
        ("senvec", "v1.1.0"),
        ("pim", "v1.1.0"),
        ("senvec", "v1.0.3"),
    ]


def test_shared_folders_belong_to_root_where_root_deploys() -> None:
    assert topology.owned([{"path": "var", "mode": "0755"}], as_root=True)[0]["owner"] == "root"
    assert "owner" not in topology.owned([{"path": "var", "mode": "0755"}], as_root=False)[0]


def test_jobs_and_stopped_instances_are_not_probed() -> None:
    job = {"name": "finvec-train@llm1", "service": "finvec", "kind": "job", "release": "v1"}
    stopped = senvec()[0] | {"state": "stopped"}
    running = senvec()[1]
    (probe,) = topology.probes([job, stopped, running], "10.32.3.27", "/")
    assert probe["url"] == "http://10.32.3.27:18004"
    assert probe["log"] == "/var/log/caelum/news@stable.log"
    assert probe["expect_version"] == "v1.0.3"


def test_tokens_leave_the_vault_only_as_hashes() -> None:
    (row,) = topology.token_rows({"operator": "abc"})
    assert row["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert "abc" not in str(row)


def test_the_table_shows_what_is_unwell_and_why() -> None:
    rows = topology.merge_instances([], senvec(), "127.0.0.1")
    health = [
        {"name": "news@stable", "status": "down", "detail": "feed http://127.0.0.1:18090/rss does not answer"},
        {"name": "aggregator@stable", "status": "healthy", "response_time_ms": 4},
    ]
    text = "\n".join(report.lines(rows, health, {"dashboard": "http://127.0.0.1:5000"}))
    assert "down: feed http://127.0.0.1:18090/rss does not answer" in text
    assert "healthy (4 ms)" in text
    assert "make logs COMPONENT=fincoll" in text
    elsewhere = report.lines(rows, health, {"dashboard": "http://127.0.0.1:25000", "prefix": "/srv/second"})
    assert "stop       make down PREFIX=/srv/second" in elsewhere
    assert not any("dashboard" in line for line in report.lines(rows, health, {"dashboard": ""}))


def test_pim_web_answers_for_the_processes_that_have_no_port() -> None:
    worker = {"name": "pim-worker@stable", "service": "pim", "release": "v1.1.0"}
    reaper = {**worker, "name": "caelum-reaper@stable"}
    web = {"name": "pim-web@stable", "service": "pim", "release": "v1.1.0", "port": 5000}
    asked = {
        item["name"]: item["url"] + item["path"] for item in topology.probes([worker, web, reaper], "127.0.0.1", "/p")
    }
    assert asked == {
        "pim-worker@stable": "http://127.0.0.1:5000/health/worker",
        "pim-web@stable": "http://127.0.0.1:5000/ready",
        "caelum-reaper@stable": "http://127.0.0.1:5000/health/reaper",
    }
    assert topology.probes([worker, reaper], "127.0.0.1", "/p") == []
    rows = topology.merge_instances([], [worker, web], "127.0.0.1")
    assert [probe["path"] for probe in topology.report_probes(rows)] == ["/health/worker", "/ready"]


def test_a_plan_is_not_shown_as_something_that_runs() -> None:
    rows = topology.merge_instances([], senvec(), "10.32.3.27")
    text = "\n".join(report.lines(rows, None, {}))
    assert "planned" in text
    assert "running" not in text
    assert "make down" not in text


def test_a_later_row_of_the_same_instance_replaces_the_earlier() -> None:
    before = topology.merge_instances([], senvec(), "127.0.0.1")
    after = topology.merge_instances(before, [senvec()[0] | {"release": "v9.9.9"}], "127.0.0.1")
    assert [row["release"] for row in after] == ["v9.9.9", "v1.0.3", "v1.1.0"]


def test_an_instance_of_systemd_is_told_of_by_its_journal_and_others_by_their_log() -> None:
    native = {"name": "fincoll@stable", "service": "fincoll", "release": "v1.1.0", "port": 8001, "state": "started"}
    (probe,) = topology.probes([native], "10.32.3.44", "/srv/x")
    assert probe["log"] == "/srv/x/var/log/caelum/fincoll@stable.log"
    assert "unit" not in probe
    (probe,) = topology.probes([{**native, "unit": "fincoll@stable"}], "10.32.3.44", "/")
    assert probe["unit"] == "fincoll@stable"
    assert "log" not in probe
