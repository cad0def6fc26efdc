"""What roles ask of systemd for their instances, besides what an instance is under every runtime."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .components import SERVICES

Instance = Mapping[str, Any]

SYSTEMD = "systemd"
TRAINING, GPU_REPORT = "finvec-train", "finvec-gpu"
GROUPS = {"senvec": "senvec.target", "pim": "pim.target", "finvec": "finvec.target"}
"""What operators start and stop a service with; FinColl's is named after its stable slot alone."""
SLICES = {"senvec": "caelum-senvec.slice", "pim": "caelum-pim.slice"}
"""Services whose processes share one limit of memory."""
PRIVILEGED = frozenset({"caelum-reaper"})
"""Components that have a host returned to its last good release: systemd takes that order from root alone."""
LEAVE_OUT = "leave it out with --limit"
TRAINED = ("checkpoints", "finvec")
"""Folders of the share that a training writes."""
GPU_DEVICES = ("/dev/nvidia*", "/dev/dxg")
"""What a GPU is asked through; the second is WSL's."""


def system_user(service: str) -> str:
    """The user that a service's processes run as."""
    return f"caelum-{service}"


def unit_name(instance: Instance) -> str:
    """Name of an instance's unit, without its suffix, as the specification's commands have it."""
    name, service = str(instance["name"]), str(instance["service"])
    component = name.partition("@")[0]
    if service == "senvec":
        return f"senvec@{component}"
    return component if service == "pim" or component == GPU_REPORT else name


def supervised(instances: Iterable[Instance], runtime: str, settings: Mapping[str, Any]) -> list[Instance]:
    """Instances with what systemd is to know of them; as they are under another runtime.

    `settings` has `share`, `memory_max`, `cpu_quota` and `tasks_max` ("" for none); for jobs also `calendars` (job to
    OnCalendar) and `runtime_max`.
    """
    if runtime != SYSTEMD:
        return list(instances)  # a copy of an item would have Ansible evaluate all of its templates
    return [{**item, **_options(item, settings), **_settings_of(item)} for item in instances]


def _options(item: Instance, settings: Mapping[str, Any]) -> dict[str, Any]:
    service, unit = str(item["service"]), unit_name(item)
    component, _, slot = str(item["name"]).partition("@")
    found: dict[str, Any] = {"unit": unit, "memory_max": str(settings["memory_max"])}
    if component in PRIVILEGED:
        found["privileged"] = True
    else:
        found["user"] = system_user(service)
    if service in GROUPS:
        found["group"] = GROUPS[service]
    elif slot == "stable":
        found["group"] = f"{service}.service"
    if service in SLICES:
        found["slice"] = SLICES[service]
    if settings.get("cpu_quota"):
        found["cpu_quota"] = str(settings["cpu_quota"])
    found["tasks_max"] = int(settings["tasks_max"])
    return found | (_job(item, settings) if item.get("kind") == "job" else {})


def _job(item: Instance, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A training gives way to what serves, may use the GPUs, and begins by itself where it has a calendar."""
    share = str(settings["share"])
    if item["component"] == GPU_REPORT:
        return {
            "memory_max": "512M",
            "devices": list(GPU_DEVICES),
            "writable": [f"{share}/finvec"],
            "timer": {"calendar": "minutely", "persistent": False, "randomized_delay": "10s", "runtime_max": "30s"},
        }
    job = item["command"][item["command"].index("--job") + 1]
    found: dict[str, Any] = {
        "nice": 10,
        "devices": list(GPU_DEVICES),
        "writable": [f"{share}/{folder}" for folder in TRAINED],
    }
    calendar = str(settings.get("calendars", {}).get(job) or "")
    if calendar:
        runtime_max = str(settings["runtime_max"])
        found["timer"] = {"calendar": calendar, "persistent": True, "runtime_max": runtime_max}
    return found


def _settings_of(item: Instance) -> dict[str, Any]:
    """Settings that name a place which only systemd gives."""
    environment = item.get("environment") or {}
    if "CREDENTIALS_DIR" not in environment:
        return {}
    place = f"/run/credentials/{unit_name(item)}.service"
    return {"environment": {**environment, "CREDENTIALS_DIR": place}}


def finvec_instances(
    jobs: Iterable[str], environment: Mapping[str, Any], version: str, runtime: str, address: str
) -> list[dict[str, Any]]:
    """FinVec's instances on one host: one a training job that may run there, and in a fleet the report of its GPUs.

    A fleet's training first claims its job, since several hosts may have the same.
    """
    fleet = runtime == SYSTEMD
    module = "finvec.scheduled" if fleet else "finvec.train"
    settings = {**environment, **({"CAELUM_ADDRESS": address} if fleet else {})}
    found = [
        _finvec(TRAINING, job.split("-")[0], ["{python}", "-m", module, "--job", job], settings, version)
        for job in map(str, jobs)
    ]
    if fleet:
        found.append(_finvec(GPU_REPORT, "stable", ["{python}", "-m", "finvec.gpu_report"], settings, version))
    return found


def _finvec(
    component: str, slot: str, command: list[str], environment: Mapping[str, Any], version: str
) -> dict[str, Any]:
    return {
        "name": f"{component}@{slot}",
        "service": "finvec",
        "component": component,
        "slot": slot,
        "release": version,
        "kind": "job",
        "command": command,
        "environment": {**environment, "CAELUM_COMPONENT": component},
    }


def with_provider_keys(
    instances: Iterable[Instance], keys: Mapping[str, Mapping[str, Any]], share: str, runtime: str
) -> list[dict[str, Any]]:
    """Instances with the keys of their providers: those of the vault, else under systemd the share's own file.

    `keys` has component → file name → content, empty where the vault has none. The share's file is hidden and has
    the same name; it is read on the host, where it may be missing too.
    """
    found = []
    for item in instances:
        mine = keys.get(str(item["name"]).partition("@")[0], {})
        given = {name: _text(content) for name, content in mine.items() if content}
        files = {name: f"{share}/.{name}" for name in mine if name not in given} if runtime == SYSTEMD else {}
        more: dict[str, Any] = {"credentials": {**(item.get("credentials") or {}), **given}} if given else {}
        found.append({**item, **more, **({"credential_files": files} if files else {})})
    return found


def _text(content: object) -> str:
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True)


def fincoll_urls(
    names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], ports: Mapping[str, Any]
) -> dict[str, str]:
    """Where PIM finds FinColl: slot → address of the first host that runs it, `<slot>@<address>` for the others.

    `names` are the hosts of FinColl's group; their `caelum_address` and `fincoll_slots` are looked up in `hostvars`.
    """
    found: dict[str, str] = {}
    for name in names:
        for slot in hostvars[name].get("fincoll_slots") or ["stable"]:
            address = hostvars[name]["caelum_address"]
            found[f"{slot}@{address}" if slot in found else str(slot)] = f"http://{address}:{ports[slot]}"
    return found


def group_sizes(groups: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Hosts of each group of an inventory."""
    return {str(name): len(list(hosts)) for name, hosts in groups.items()}


def slots_of(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Slots of FinColl that hosts of its group run, each once."""
    return list(dict.fromkeys(slot for name in names for slot in hostvars[name].get("fincoll_slots") or ["stable"]))


def before_release_slots(slots: Iterable[str], everywhere: Iterable[str]) -> list[str]:
    """Slots of a host that a pre-release goes to, of its own `slots` and those of all hosts of the group.

    Where a host is there for the candidate slot, the others take none of it.
    """
    return ["candidate"] if "candidate" in slots or "candidate" not in everywhere else []


def with_job(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], job: str) -> list[str]:
    """Hosts that a training job may run on; one that names no jobs may run it."""
    return [name for name in names if job in hostvars[name].get("finvec_jobs", [job])]


def service_users(groups: Iterable[str], base: int) -> list[dict[str, Any]]:
    """Users of the services that a host of these groups runs, as `caelum_host` takes them.

    Each service has its own number above `base`, the same on every host; with 0 none is asked for.
    """
    here = set(groups)
    return [
        {"name": system_user(service), "uid": base + number if base else None}
        for number, service in enumerate(SERVICES, start=1)
        if service in here
    ]


def tokens_of(tokens: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of the service tokens that a service accepts: another's rotation is nothing to it."""
    wanted = set(names)
    return {name: token for name, token in tokens.items() if name in wanted}


def share_folders(share: str, groups: Iterable[str]) -> list[dict[str, str]]:
    """Folders of the share and who may write to each, as `caelum_host` takes them.

    Made by the hosts that know FinVec's user: the others could not give him anything.
    """
    trainer = system_user("finvec")
    if "finvec" not in set(groups):
        return []
    return [
        {"path": f"{share}/releases", "mode": "0755", "owner": "root"},
        {"path": f"{share}/backups", "mode": "0700", "owner": "root"},
        *(
            {"path": f"{share}/{name}", "mode": "0755", "owner": trainer}
            for name in (*TRAINED, "finvec/status", "finvec/claims", "market-data")
        ),
    ]


def state_directories(groups: Iterable[str]) -> list[dict[str, str]]:
    """Folders of state of the services that a host of these groups runs, each its service's alone.

    FinColl's is root's own: all that lies there is its kill switch, which it must not be able to lift itself.
    """
    here = set(groups)
    return [
        {"path": f"var/lib/caelum/{service}", "mode": "0755", "owner": "root"}
        if service == "fincoll"
        else {"path": f"var/lib/caelum/{service}", "mode": "0750", "owner": system_user(service)}
        for service in SERVICES
        if service in here
    ]


# What the services of a group ask, by group: the other group, the variable of its port, and that variable's default.
_ASKED = {
    "finvec": (("senvec", "senvec_aggregator_port", 18000),),
    "fincoll": (("senvec", "senvec_aggregator_port", 18000),),
    "pim": (("senvec", "senvec_aggregator_port", 18000), ("fincoll", "fincoll_port", 8001)),
}


def peers(
    here: Iterable[str],
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    port_base: int,
    among: Iterable[str],
) -> list[dict[str, Any]]:
    """What a host of groups `here` asks on hosts `among` those of the run, as `caelum_preflight` takes it.

    A host that was left out of the run may be away.
    """
    present = set(among)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for group in here:
        for other, variable, default in _ASKED.get(group, ()):
            for name in filter(present.__contains__, groups.get(other, ())):
                address = str(hostvars[name]["caelum_address"])
                port = int(hostvars[name].get(variable, default)) + port_base
                found[address, port] = {"name": f"{other} on {name}", "address": address, "port": port}
    return list(found.values())


def unfit(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], result: str = "__base_look") -> str:
    """Why hosts cannot take a deployment, each named, in one line; empty when all can.

    `result` is the variable that holds what `caelum_preflight` said of each.
    """
    lines: dict[str, list[str]] = {}
    for name in hosts:
        said = hostvars[name].get(result) or {}
        if said.get("failed") or said.get("unreachable") or ("free_mib" not in said and not said.get("skipped")):
            lines.setdefault(_reason(said), []).append(str(name))
    if list(lines.values()) == [["localhost"]]:
        return next(iter(lines))
    return "; ".join(f"{', '.join(names)}: {_typed(line, names)}" for line, names in lines.items())


def _typed(line: str, names: Iterable[str]) -> str:
    """A reason with the hosts in the option that leaves them out, as a shell takes it."""
    return f"{line} '{':'.join(f'!{name}' for name in names)}'" if line.endswith(LEAVE_OUT) else line


def _reason(said: Mapping[str, Any]) -> str:
    text = str(said.get("msg") or "").strip()
    if said.get("unreachable"):
        why = " ".join(text.split()).rpartition("ssh: ")[2].removeprefix("Task failed: ")
        return f"not reached by SSH ({why}); start it, correct ansible_host, or {LEAVE_OUT}"
    shown = " ".join(str(said.get(part) or "") for part in ("msg", "module_stderr", "module_stdout", "stderr"))
    if "interpreter" in shown and "not found" in shown:
        return "no Python at ansible_python_interpreter; `apt-get install python3`, or correct the variable"
    if "minimum of Python" in shown or "SyntaxError" in shown or "annotations is not defined" in shown:
        return "its Python is too old; install 3.11 and name it in ansible_python_interpreter"
    return " ".join(text.split()) or "it could not be looked at, and said nothing; try `ansible -m ping`"
