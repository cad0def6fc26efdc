"""What an inventory's instances look like from outside: where they answer, and how they are shown.

An instance is the dict that the module `caelum_instance` takes, see its documentation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .components import wanted_service
from .database import controllers
from .report import labels

Instance = Mapping[str, Any]

PORTLESS = {"pim-worker@stable": "/health/worker", "caelum-reaper@stable": "/health/reaper"}
"""Processes of PIM that listen nowhere, and the route by which pim-web tells of them."""


def local_prefix(checkout: str, uid: int | None = None) -> str:
    """Folder that a `local` deployment of this checkout writes to.

    Root gets one below /opt, since PostgreSQL refuses root and its user must be able to enter the folder.
    """
    if (os.geteuid() if uid is None else uid) == 0:
        return f"/opt/caelum-{hashlib.sha256(str(checkout).encode()).hexdigest()[:8]}"
    return f"{checkout}/.caelum"


def as_root(_prefix: str) -> bool:
    """Whether a `local` deployment runs as root, on the controller as everywhere in it."""
    return os.geteuid() == 0


def controller_pid(_prefix: str) -> int:
    """Process id of the running `ansible-playbook`, asked from one of its workers: the outermost of that name."""
    pid, found = os.getpid(), os.getppid()
    while pid > 1:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2]
        if any(word.rpartition(b"/")[2].startswith(b"ansible-playbook") for word in words):
            found = pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def run_name(prefix: str) -> str:
    """What tells this run of `ansible-playbook` from all others."""
    told = controllers.identity(controller_pid(prefix))
    return f"{told['controller']}/{told['boot_id'][:8]}/{told['pid']}/{told['started']}"


def owned(directories: Iterable[Mapping[str, Any]], as_root: bool) -> list[dict[str, Any]]:
    """Directories of `caelum_instance`; as root they are said to be root's, so that no service owns a shared folder."""
    return [{**item, **({"owner": "root"} if as_root else {})} for item in directories]


def releases(catalogue: Iterable[Mapping[str, Any]], senvec_versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is to be built and installed: the catalogue, and SenVec once more for each other version in use.

    Such a version may be the tag of the components that have it.
    """
    wanted = [dict(item) for item in catalogue]
    base = next(item for item in wanted if item["name"] == "senvec")
    others: dict[str, list[str]] = {}
    for name, version in senvec_versions.items():
        others.setdefault(str(version), []).append(str(name))
    return wanted + [
        {**base, "version": version, "components": names}
        for version, names in others.items()
        if version != base["version"]
    ]


def component(unit: str, slot: str) -> str:
    """Component of `fincoll@stable` and of `finvec-train@llm1`, whose part behind the @ is a job."""
    return unit if slot in {"stable", "candidate"} else f"{unit}@{slot}"


def url(instance: Instance, host: str) -> str:
    """Address of an instance's HTTP routes; empty when it has none."""
    if instance.get("kind", "service") != "service" or instance["service"] == "postgresql" or "port" not in instance:
        return ""
    return f"http://{host}:{instance['port']}"


def questions(instances: Iterable[Instance], host: str) -> dict[str, tuple[str, str]]:
    """By instance, the address and route that tell whether it can do its job; pim-web answers for PORTLESS."""
    names = {str(item["name"]): url(item, host) for item in instances}
    asked = {name: (address, "/ready") for name, address in names.items() if address}
    if "pim-web@stable" in asked:
        web = asked["pim-web@stable"][0]
        asked |= {name: (web, route) for name, route in PORTLESS.items() if name in names}
    return asked


def probes(instances: Iterable[Instance], host: str, prefix: str) -> list[dict[str, Any]]:
    """Probes of `caelum_health` for the started instances that can be asked."""
    started = [item for item in instances if item.get("state", "started") == "started"]
    asked = questions(started, host)
    return [
        {
            "name": item["name"],
            "url": asked[item["name"]][0],
            "path": asked[item["name"]][1],
            **_told(item, prefix),
            "expect_version": item["release"],
        }
        for item in started
        if item["name"] in asked
    ]


def _told(item: Instance, prefix: str) -> dict[str, str]:
    """Where an instance says what is wrong with it: in the journal where systemd runs it, else in its log."""
    if item.get("unit"):
        return {"unit": str(item["unit"])}
    return {"log": str(Path(prefix, "var/log/caelum", f"{item['name']}.log"))}


def merge_instances(known: Iterable[Instance], more: Iterable[Instance], host: str) -> list[dict[str, Any]]:
    """Rows of the table at the end of a run; a later row of the same name replaces the earlier."""
    rows = {str(row["name"]): dict(row) for row in known}
    listed = list(more)
    asked = questions(listed, host)
    for instance in listed:
        address, path = asked.get(str(instance["name"]), ("", ""))
        rows[str(instance["name"])] = {
            "name": str(instance["name"]),
            "service": str(instance["service"]),
            "release": str(instance["release"]),
            "kind": str(instance.get("kind", "service")),
            "url": address,
            "path": path,
            "address": f"{host}:{instance['port']}" if "port" in instance else host,
            **({"unit": f"{instance['unit']}.service"} if "unit" in instance else {}),
        }
    return list(rows.values())


def ports(
    instances: Iterable[Instance], groups: Iterable[str], service: str = "", component: str = ""
) -> list[dict[str, Any]]:
    """What `caelum_preflight` takes: those that listen, on a host of these groups, in a run about what is named."""
    here = {*groups, *(["postgresql"] if "database" in groups else [])}
    only = wanted_service(service, component)
    return [
        {
            "name": item["name"],
            "service": item["service"],
            "address": item["address"],
            "port": item["port"],
            "variable": item.get("port_variable"),
        }
        for item in instances
        if item.get("port") is not None
        and item.get("state", "started") == "started"
        and item["service"] in here
        and (item["service"] == "postgresql" or only in {"", item["service"]})
        and (item["service"] == "postgresql" or component in {"", str(item["name"]).partition("@")[0]})
    ]


def urls(ports: Mapping[str, Any], host: str, exclude: Iterable[str] = ()) -> dict[str, str]:
    """Addresses of named ports on one host."""
    return {name: f"http://{host}:{port}" for name, port in ports.items() if name not in set(exclude)}


def senvec_instances(
    ports: Mapping[str, Any],
    environment: Mapping[str, Any],
    version: str,
    versions: Mapping[str, str],
    replay_port: int | None = None,
) -> list[dict[str, Any]]:
    """SenVec's microservices, one instance a port; with a replay port the local feed server comes first.

    Microservices start before the aggregator that asks them; each may have a version of its own.
    """
    modules = dict.fromkeys(ports, "senvec.server")
    every_port = dict(ports)
    if replay_port is not None:
        modules, every_port = {"replay": "senvec.replay"} | modules, {"replay": replay_port} | every_port
    return [
        {
            "name": f"{name}@stable",
            "service": "senvec",
            "component": name,
            "slot": "stable",
            "release": str(versions.get(name, version)),
            "command": ["{python}", "-m", modules[name]],
            "environment": {
                **environment,
                "CAELUM_COMPONENT": name,
                "SENVEC_COMPONENT": name,
                "SENVEC_PORT": str(every_port[name]),
            },
            "address": environment["CAELUM_BIND"],
            "port": int(every_port[name]),
            "port_variable": f"senvec_{name}_port",
            "priority": 200,
        }
        for name in modules
    ]


def fincoll_instances(
    slots: Iterable[str], environment: Mapping[str, Any], version: str, ports: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """FinColl's instances on one host, one a slot."""
    variables = {"stable": "fincoll_port", "candidate": "fincoll_candidate_port"}
    return [
        {
            "name": f"fincoll@{slot}",
            "service": "fincoll",
            "component": "fincoll",
            "slot": slot,
            "release": version,
            "command": ["{python}", "-m", "fincoll.server"],
            "environment": {**environment, "CAELUM_SLOT": slot, "FINCOLL_PORT": str(ports[slot])},
            "address": environment["CAELUM_BIND"],
            "port": int(ports[slot]),
            "port_variable": variables[slot],
            "priority": 300,
        }
        for slot in slots
    ]


def token_hashes(tokens: Mapping[str, str]) -> dict[str, str]:
    """Service tokens as the services keep them: sha256 in hex, by name."""
    return {name: hashlib.sha256(str(token).encode()).hexdigest() for name, token in tokens.items()}


def token_rows(tokens: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of `api_tokens` for `caelum_config`."""
    return [{"name": name, "sha256": digest, "scopes": []} for name, digest in token_hashes(tokens).items()]


def report_probes(running: Iterable[Instance]) -> list[dict[str, Any]]:
    """Probes of `caelum_health` for the rows that `merge_instances` made."""
    listed = list(running)
    return [
        {"name": label, "url": row["url"], "path": row["path"]}
        for label, row in zip(labels(listed), listed, strict=True)
        if row["url"]
    ]


def url_of(running: Iterable[Instance], name: str) -> str:
    """Address of one row that `merge_instances` made; empty when it is not there."""
    return next((str(row["url"]) for row in running if row["name"] == name), "")
