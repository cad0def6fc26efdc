"""A run narrowed to one service or component reaches that one's hosts, releases and ports, and no other."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.caelum import components, topology

CATALOGUE = [
    {"name": "postgresql", "version": "v0.6.0"},
    {"name": "senvec", "version": "v1.2.0"},
    {"name": "fincoll", "version": "v1.2.0"},
    {"name": "senvec", "version": "v1.0.3", "components": ["social"]},
]


def releases(service: str = "", component: str = "") -> list[tuple[Any, ...]]:
    found = components.narrowed_releases(CATALOGUE, service, component, "v1.2.0")
    return [(item["name"], item["version"], *item.get("components", [])) for item in found]


def test_a_play_about_a_service_has_hosts_when_the_run_is_about_it_or_a_component_of_it() -> None:
    def hosts(service: str, component: str) -> list[str]:
        return [components.hosts(name, service, component) for name in ("senvec", "pim")]

    assert hosts("", "") == ["senvec", "pim"]
    assert hosts("pim", "") == ["!all", "pim"]
    assert hosts("", "news") == ["senvec", "!all"]
    assert hosts("senvec", "news") == ["senvec", "!all"]
    assert hosts("", "caelum-reaper") == ["!all", "pim"]


def test_only_the_releases_of_what_the_run_is_about_are_wanted_and_the_database_that_records_it() -> None:
    database = ("postgresql", "v0.6.0")
    every = [database, ("senvec", "v1.2.0"), ("fincoll", "v1.2.0"), ("senvec", "v1.0.3", "social")]
    assert releases() == every
    assert releases(service="fincoll") == [database, ("fincoll", "v1.2.0")]
    assert releases(service="senvec") == [database, ("senvec", "v1.2.0"), ("senvec", "v1.0.3", "social")]
    assert releases(component="news") == [database, ("senvec", "v1.2.0", "news")]
    assert releases("senvec", "news") == releases(component="news")


def test_ports_are_those_of_what_listens_on_this_host_in_this_run() -> None:
    instances = [
        {"name": "postgresql@stable", "service": "postgresql", "address": "127.0.0.1", "port": 15433},
        {"name": "news@stable", "service": "senvec", "address": "127.0.0.1", "port": 18004, "port_variable": "p"},
        {"name": "social@stable", "service": "senvec", "address": "127.0.0.1", "port": 18003, "state": "stopped"},
        {"name": "replay@stable", "service": "senvec", "address": "127.0.0.1", "port": 18090},
        {"name": "pim-worker@stable", "service": "pim"},
        {"name": "pim-web@stable", "service": "pim", "address": "127.0.0.1", "port": 5000},
    ]

    def names(*arguments: Any) -> list[str]:
        return [row["name"].partition("@")[0] for row in topology.ports(instances, *arguments)]

    everywhere = ["database", "senvec", "pim"]
    assert names(everywhere) == ["postgresql", "news", "replay", "pim-web"]
    assert names(["senvec"]) == ["news", "replay"]
    assert names(everywhere, "pim") == ["postgresql", "pim-web"]
    assert names(everywhere, "", "news") == ["postgresql", "news"]
    assert topology.ports(instances, ["senvec"], "", "news") == [
        {"name": "news@stable", "service": "senvec", "address": "127.0.0.1", "port": 18004, "variable": "p"}
    ]
