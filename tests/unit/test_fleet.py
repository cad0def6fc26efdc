"""What roles ask of systemd, what a host is asked before a deployment, and whose secrets reach whom."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.caelum import fleet

LIMITS = {"share": "/ss", "memory_max": "1G", "cpu_quota": "", "tasks_max": 64}
TIMED = {**LIMITS, "calendars": {"llm1-tech": "Mon..Fri 17:15 America/New_York"}, "runtime_max": "6h"}


def instance(name: str, service: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "service": service, "environment": {"LOG_LEVEL": "INFO"}, **more}


def one(item: dict[str, Any], settings: dict[str, Any] = LIMITS) -> dict[str, Any]:
    (found,) = fleet.supervised([item], "systemd", settings)
    return found


def test_under_supervisord_an_instance_stays_as_it_is_with_its_templates_not_looked_at() -> None:
    items = [instance("news@stable", "senvec"), instance("fincoll@stable", "fincoll")]
    same = [kept is item for kept, item in zip(fleet.supervised(items, "native", LIMITS), items, strict=True)]
    assert same == [True, True]


def test_units_have_the_names_that_the_specification_types() -> None:
    named = {
        "senvec@news": ("news@stable", "senvec"),
        "pim-web": ("pim-web@stable", "pim"),
        "fincoll@candidate": ("fincoll@candidate", "fincoll"),
        "finvec-train@llm1": ("finvec-train@llm1", "finvec"),
        "finvec-gpu": ("finvec-gpu@stable", "finvec"),
    }
    assert {unit: fleet.unit_name(instance(*item)) for unit, item in named.items()} == {unit: unit for unit in named}


def test_processes_of_pim_share_one_limit_and_only_the_reaper_is_root() -> None:
    web, reaper = (one(instance(f"{name}@stable", "pim")) for name in ("pim-web", "caelum-reaper"))
    assert {item["slice"] for item in (web, reaper)} == {"caelum-pim.slice"}
    assert (web["user"], web.get("privileged")) == ("caelum-pim", None)
    assert (reaper.get("user"), reaper["privileged"]) == (None, True)


def test_only_the_stable_slot_is_what_operators_call_fincoll() -> None:
    assert one(instance("fincoll@stable", "fincoll"))["group"] == "fincoll.service"
    assert "group" not in one(instance("fincoll@candidate", "fincoll"))


def test_no_service_on_a_request_path_names_the_share() -> None:
    for name, service in (("fincoll@stable", "fincoll"), ("news@stable", "senvec"), ("pim-web@stable", "pim")):
        assert "writable" not in one(instance(name, service))


def test_credentials_are_looked_for_where_systemd_puts_them() -> None:
    item = instance("fincoll@stable", "fincoll", environment={"CREDENTIALS_DIR": "/ss"})
    assert one(item)["environment"]["CREDENTIALS_DIR"] == "/run/credentials/fincoll@stable.service"


def test_a_job_with_a_calendar_has_a_timer_and_another_trains_on_demand() -> None:
    train, other, gpu = fleet.supervised(
        fleet.finvec_instances(["llm1-tech", "llm5-volatility"], {}, "v1.1.0", "systemd", "10.32.3.62"),
        "systemd", TIMED,
    )  # fmt: skip
    assert train["timer"]["calendar"] == "Mon..Fri 17:15 America/New_York"
    assert train["timer"]["runtime_max"] == "6h"
    assert train["writable"] == ["/ss/checkpoints", "/ss/finvec"]
    assert "timer" not in other
    assert (gpu["name"], gpu["timer"]["calendar"]) == ("finvec-gpu@stable", "minutely")


def test_locally_a_job_is_the_training_itself_and_nothing_reports_gpus() -> None:
    (train,) = fleet.finvec_instances(["llm1-tech"], {}, "v1.1.0", "native", "127.0.0.1")
    assert train["command"] == ["{python}", "-m", "finvec.train", "--job", "llm1-tech"]
    assert train["environment"] == {"CAELUM_COMPONENT": "finvec-train"}


def test_a_key_of_the_vault_goes_to_its_component_alone_and_the_shares_file_stands_in() -> None:
    items = [instance(f"{name}@stable", "senvec") for name in ("alphavantage", "sentimentrader", "news")]
    keys = {
        "alphavantage": {"alpha_vantage_credentials.json": {"api_key": "k1"}},
        "sentimentrader": {"sentimentrader_credentials.json": {}},
    }
    alpha, sentiment, news = fleet.with_provider_keys(items, keys, "/ss", "systemd")
    assert alpha["credentials"] == {"alpha_vantage_credentials.json": '{"api_key": "k1"}'}
    assert "credential_files" not in alpha
    assert sentiment["credential_files"] == {"sentimentrader_credentials.json": "/ss/.sentimentrader_credentials.json"}
    assert news == items[2]
    assert fleet.with_provider_keys(items, {}, "/ss", "native") == items


def test_pim_finds_every_fincoll_and_the_first_of_a_slot_has_its_plain_name() -> None:
    hosts = {
        "a": {"caelum_address": "10.0.0.1"},
        "b": {"caelum_address": "10.0.0.2", "fincoll_slots": ["stable", "candidate"]},
    }
    assert fleet.fincoll_urls(hosts, hosts, {"stable": 8001, "candidate": 8002}) == {
        "stable": "http://10.0.0.1:8001",
        "stable@10.0.0.2": "http://10.0.0.2:8001",
        "candidate": "http://10.0.0.2:8002",
    }


def test_a_pre_release_goes_to_the_hosts_that_are_there_for_it() -> None:
    assert fleet.before_release_slots(["stable"], ["stable"]) == ["candidate"]
    assert fleet.before_release_slots(["stable"], ["stable", "candidate"]) == []
    assert fleet.before_release_slots(["candidate"], ["stable", "candidate"]) == ["candidate"]


def test_service_users_have_the_same_number_on_every_host() -> None:
    everywhere = {user["name"]: user["uid"] for user in fleet.service_users(["pim", "finvec", "senvec"], 880)}
    alone = {user["name"]: user["uid"] for user in fleet.service_users(["finvec", "machines"], 880)}
    assert alone == {"caelum-finvec": everywhere["caelum-finvec"]}
    assert len(set(everywhere.values())) == 3
    assert fleet.service_users(["pim"], 0) == [{"name": "caelum-pim", "uid": None}]


def test_only_hosts_of_the_run_must_be_reached() -> None:
    hosts = {"a": {"caelum_address": "10.0.0.1"}, "b": {"caelum_address": "10.0.0.2"}}
    groups = {"senvec": ["a"], "fincoll": ["b"], "pim": ["a"]}
    asked = fleet.peers(["pim"], groups, hosts, 0, ["a", "b"])
    assert [(peer["address"], peer["port"]) for peer in asked] == [("10.0.0.1", 18000), ("10.0.0.2", 8001)]
    assert [peer["name"] for peer in fleet.peers(["pim"], groups, hosts, 0, ["a"])] == ["senvec on a"]


def test_hosts_that_cannot_take_a_deployment_are_told_in_one_line() -> None:
    away = "Task failed: Data could not be sent: ssh: connect to host 10.0.0.9 port 22: Connection timed out"
    looks: dict[str, dict[str, Any]] = {
        "fine": {"free_mib": {"/": 9}},
        "full": {"msg": "no space under /var"},
        "away": {"unreachable": True, "msg": away},
        "bare": {"msg": "The module interpreter '/usr/bin/python3' was not found.", "rc": 127},
        "old": {"msg": "ansible-core requires a minimum of Python version 3.9. Current version: 3.7"},
    }
    hostvars = {name: {"__base_look": said} for name, said in looks.items()}
    line = fleet.unfit(looks, hostvars)
    assert "full: no space under /var" in line
    assert "away: not reached by SSH (connect to host 10.0.0.9 port 22: Connection timed out)" in line
    assert "leave it out with --limit '!away'" in line, "to be typed as it stands"
    assert "bare: no Python at ansible_python_interpreter" in line
    assert "old: its Python is too old" in line
    assert "fine" not in line
    assert "\n" not in line
    assert fleet.unfit(["fine"], hostvars) == ""


def test_a_service_knows_only_the_tokens_that_it_accepts() -> None:
    assert fleet.tokens_of({"operator": "a", "pim": "b", "senvec": "c"}, ["operator", "pim"]) == {
        "operator": "a",
        "pim": "b",
    }


def test_a_first_training_runs_where_its_job_may() -> None:
    hosts = {"gpu-22": {"finvec_jobs": []}, "gpu-62": {"finvec_jobs": ["llm1-tech"]}, "localhost": {}}
    assert fleet.with_job(hosts, hosts, "llm1-tech") == ["gpu-62", "localhost"]
