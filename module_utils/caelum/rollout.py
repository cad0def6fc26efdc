"""What a run over several hosts goes by: where something is to change, what went wrong where, and how it ended.

`facts` are the variables of hosts by name, as Ansible's `hostvars` gives them: what each step registered there. A step
that did not run on a host left `{}`, a skipped mark or nothing, which is no trouble.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .components import COMPONENTS, SERVICES, service_of, wanted_service
from .topology import component

Facts = Mapping[str, Any]
NOWHERE = "!all"
HOST_COLUMN = 100  # characters of deployment_history.host
SAID = 3  # hosts whose words a line quotes in full


def plan(
    looked: Iterable[Facts], inventory: str, unfinished: Iterable[str], more: Iterable[str] = ()
) -> dict[str, Any]:
    """By service, the `hosts` on which something is to change, and those that it is `lost` on.

    `looked` are the variables of the hosts, each with what the look found as `__look`. A service in `unfinished` or
    `more` goes through every gate on all its hosts, as one does that a host was left half way with. A service is lost
    where its instances are, recorded by `inventory`, though the host is not in its group any more.
    """
    found: dict[str, dict[str, list[str]]] = {service: {"hosts": [], "lost": []} for service in SERVICES}
    again = {*unfinished, *more}
    for host in looked:
        look = host["__look"]
        scope = list(look["services"])
        here = [service for service in SERVICES if service in scope and service in host["group_names"]]
        touched = {_service(row["name"]) for row in look["instances"] if row["changes"]}
        begun = {service for service, record in look["records"].items() if record["pending"]}
        for service in SERVICES:
            if service in here:
                stray = bool(look["steps"]) and not touched and service == here[0]
                if service in touched | begun or (service in again and _has(host, service)) or stray:
                    found[service]["hosts"].append(str(host["inventory_hostname"]))
            elif service in touched and _is_ours(look["records"].get(service), inventory):
                found[service]["lost"].append(str(host["inventory_hostname"]))
    return found


def machines(groups: Mapping[str, Sequence[str]]) -> str:
    """Pattern for all hosts that could have instances: a host that lost its last service is in no group of one.

    A host that is in `database` alone belongs to others, and is never logged in to.
    """
    serving = {host for service in SERVICES for host in groups.get(service, ())}
    hosts = [host for host in groups.get("all", ()) if host in serving or host not in groups.get("database", ())]
    return _pattern(hosts)


def going(run: Facts, service: str) -> str:
    """Pattern for the hosts of a service's play: where it is to change, none once the run has failed."""
    return _pattern([] if run.get("caelum_failure") else (run.get("caelum_plan") or {}).get(service, {}).get("hosts"))


def lost(run: Facts, service: str) -> str:
    """Pattern for the hosts that lost a service, none once the run has failed.

    None either where the run is not `caelum_whole`: its new place may be left out, or what uses it not know that yet.
    """
    if run.get("caelum_failure") or not run.get("caelum_whole"):
        return NOWHERE
    return _pattern((run.get("caelum_plan") or {}).get(service, {}).get("lost"))


def left(run: Facts) -> list[str]:
    """Lines about services that a run leaves where the inventory does not list them any more."""
    if run.get("caelum_whole"):
        return []
    return [
        f"{service} stays on {', '.join(hosts['lost'])}, where the inventory does not list it; a deployment of "
        "everything to all hosts removes it there"
        for service, hosts in (run.get("caelum_plan") or {}).items()
        if hosts.get("lost")
    ]


def earlier(run: Facts, service: str) -> str:
    """Pattern for the hosts on which a run that failed rolled the service out before; none while it goes well."""
    done: Mapping[str, Sequence[str]] = run.get("caelum_rolled_out") or {}
    return _pattern(done.get(service) if run.get("caelum_failure") else [])


def trouble(hosts: Iterable[str], facts: Mapping[str, Facts], steps: Iterable[str]) -> str:
    """What went wrong on any of the hosts in any of the steps, as one line; empty while all is well."""
    listed = list(hosts)
    names = list(steps)
    said: dict[str, str] = {}
    for host in listed:
        line = next((line for step in names if (line := _wrong(facts[host].get(step)))), "")
        if line and line not in said.values():
            said[host] = line
    lines = [_of(host, line, alone=len(listed) == 1) for host, line in list(said.items())[:SAID]]
    return "; ".join([*lines, *([f"and {len(said) - SAID} hosts more"] if len(said) > SAID else [])])


def well(facts: Facts, steps: Iterable[str]) -> bool:
    """Whether none of the steps went wrong on this host."""
    return not any(_wrong(facts.get(step)) for step in steps)


def reached(hosts: Iterable[str], facts: Mapping[str, Facts], step: str) -> list[str]:
    """The hosts that took the step well."""
    return [host for host in hosts if _ran(facts[host].get(step) or {}) and not _wrong(facts[host].get(step))]


def changes(
    hosts: Iterable[str],
    facts: Mapping[str, Facts],
    step: str,
    every: bool = False,
    built: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """Components that change on any host, or all with `every`, each once with its hosts, for `caelum_deployment`.

    Each has its own version, as the step had it, and the commit where it is among the `built` releases.
    """
    where: dict[str, list[str]] = {}
    releases: dict[str, str] = {}
    rows = [(facts[host], row) for host in hosts for row in facts[host].get(step, {}).get("instances") or []]
    wanted = [pair for pair in rows if every or pair[1]["changes"]] or rows
    for host, row in wanted:
        name = component(*str(row["name"]).split("@"))
        addresses = where.setdefault(name, [])
        if str(host["caelum_address"]) not in addresses:
            addresses.append(str(host["caelum_address"]))
        if row.get("release"):
            releases[name] = str(row["release"])
    commits = {(one["service"], one["version"]): str(one["commit"]) for one in built if one.get("commit")}
    return [
        {"component": name, "host": _column(sorted(addresses)), **_release(name, releases.get(name, ""), commits)}
        for name, addresses in where.items()
    ]


def steps_of(hosts: Iterable[str], facts: Mapping[str, Facts], step: str) -> str:
    """The steps that the plan of each host has, a line each; empty where nothing was to be done."""
    listed = list(hosts)
    return "\n".join(
        line if len(listed) == 1 else f"{host}: {line}"
        for host in listed
        for line in facts[host].get(step, {}).get("steps") or []
    )


def configs(hosts: Iterable[str], facts: Mapping[str, Facts], step: str) -> dict[str, list[Any]]:
    """Configurations and tokens of the revisions that hosts were given, each once, for `caelum_config`."""
    given = [found["revision"] for host in hosts if (found := facts[host].get(step) or {}).get("revision")]
    tokens = {str(row["name"]): row for revision in given for row in revision["tokens"]}
    return {"configs": [one["config"] for one in given if one["config"]], "tokens": list(tokens.values())}


def model(hosts: Iterable[str], facts: Mapping[str, Facts], step: str) -> Mapping[str, Any]:
    """The model that belongs to the revisions that hosts were given; empty where none does."""
    given = [found["revision"] for host in hosts if (found := facts[host].get(step) or {}).get("revision")]
    return next((one["model"] for one in given if one["model"]), {})


def events(hosts: Iterable[str], facts: Mapping[str, Facts], step: str, name: str) -> list[dict[str, Any]]:
    """An event `name` for each host that took the step well, with what it did there."""
    return [
        {"event": name, "host": str(facts[host]["caelum_address"]), "detail": {"steps": list(done.get("steps") or [])}}
        for host in hosts
        if _ran(done := facts[host].get(step) or {}) and not _wrong(done)
    ]


def taken_back(hosts: Sequence[str], facts: Mapping[str, Facts], service: str, unwritten: str = "") -> dict[str, Any]:
    """How the taking back of a service ended: `status` and `line` for its rows, and an event for each host.

    `unwritten` is why the database does not have what belongs to it, which changes nothing of how the hosts are.
    """
    wrong: list[str] = []
    versions: dict[str, list[str]] = {}
    told: list[dict[str, Any]] = []
    alone = len(hosts) == 1
    for host in hosts:
        line, version = _fate(facts[host], service)
        what = "not_returned" if line else "returned" if version else "untouched"
        if line:
            wrong.append(line if alone else f"{host}: {line}")
        elif version:
            versions.setdefault(version, []).append(host)
        detail = {"to": version} if version else {"reason": line} if line else {}
        told.append({"event": what, "host": str(facts[host]["caelum_address"]), "detail": detail})
    back = [
        f"{service} was returned to {version}" + ("" if alone else f" on {', '.join(sorted(names))}")
        for version, names in versions.items()
    ]
    lines = [*back, *wrong, *([unwritten] if unwritten else [])] or ["nothing had changed"]
    return {"status": "rolled_back" if back and not wrong else "failed", "line": "; ".join(lines), "events": told}


def partly(groups: Mapping[str, Sequence[str]], hosts: Iterable[str], service: str, named: str) -> list[str]:
    """Lines about services whose hosts are only partly among those that the run is about (`--limit`)."""
    within = set(hosts)
    only = wanted_service(service, named)
    lines = []
    for name in SERVICES:
        out = [host for host in groups.get(name, ()) if host not in within]
        if out and len(out) < len(groups[name]) and only in {"", name}:
            here = [host for host in groups[name] if host in within]
            lines.append(f"{name} was looked at on {', '.join(here)} alone; --limit leaves out {', '.join(out)}")
    return lines


def rolled_out(
    done: Mapping[str, Sequence[str]], service: str, hosts: Iterable[str], facts: Mapping[str, Facts]
) -> dict[str, Sequence[str]]:
    """`done` with the hosts on which this service got a release that there is one before to go back to."""
    made = [host for host in hosts if (facts[host].get("__instance_committed") or {}).get("can_return")]
    return {**done, **({service: [*done.get(service, ()), *made]} if made else {})}


def _fate(host: Facts, service: str) -> tuple[str, str]:
    """Why a host was not returned, and the version that it was returned to; neither where nothing had changed."""
    known = host.get("__instance_known") or {}
    if reason := _wrong(known):
        return f"not taken back: {reason}", ""
    if not (known.get("services") or {}).get(service, {}).get("current"):
        return f"{service} has no earlier release to return to and stays as it is", ""
    for step in ("__instance_returned", "__instance_return_ready", "__instance_return_committed"):
        if reason := _wrong(host.get(step)):
            return f"not taken back: {reason}", ""
    returned = host.get("__instance_returned") or {}
    return "", str(returned["revision"]["version"]) if returned.get("changed") else ""


def _wrong(result: Facts | None) -> str:
    """Why a step went wrong; empty when it went well or did not run."""
    if not result or result.get("skipped"):
        return ""
    if result.get("unreachable"):
        return f"it was cut off ({_one_line(result.get('msg'))})"
    if not result.get("failed"):
        return ""
    return _one_line(result.get("msg")) or "it failed without a word"


def _ran(result: Facts) -> bool:
    return bool(result) and not result.get("skipped")


def _of(host: str, line: str, *, alone: bool) -> str:
    """The line with its host, where it does not say so itself and there are others."""
    named = alone or f" on {host} " in line
    return line if named and not line.startswith("it was cut off") else f"{host}: {line}"


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split()).removeprefix("Task failed: ")


def _pattern(hosts: Sequence[str] | None) -> str:
    return ":".join(hosts) if hosts else NOWHERE


def _release(name: str, version: str, commits: Mapping[tuple[str, str], str]) -> dict[str, str]:
    commit = commits.get((_service(name), version))
    return {**({"version": version} if version else {}), **({"git_commit": commit} if commit else {})}


def _column(addresses: Sequence[str]) -> str:
    """Addresses as the history's column holds them; the opening event has them all."""
    text = ", ".join(addresses)
    if len(text) <= HOST_COLUMN:
        return text
    room = HOST_COLUMN - len(" and 999 more")
    shown = text[:room].rpartition(",")[0]
    return f"{shown} and {len(addresses) - shown.count(',') - 1} more"


def _has(host: Facts, service: str) -> bool:
    """Whether the run has instances of the service for this host; a pre-release goes to some of the group alone."""
    return any(row["service"] == service for row in host["caelum_running"])


def _service(name: str) -> str:
    return service_of(name.partition("@")[0])


def _is_ours(record: Facts | None, inventory: str) -> bool:
    """Whether this inventory recorded it; a record of before these were named is of the one that was there.

    A first deployment that failed has left no version, only what was begun.
    """
    if record is None or not (record["version"] or record["pending"]):
        return False
    return record.get("inventory") in {None, inventory}


def instances(
    groups: Iterable[str], listed: Iterable[Mapping[str, Any]], service: str, named: str
) -> list[Mapping[str, Any]]:
    """Of all that could run on a host of these groups, what the run is about."""
    here = set(groups)
    only = wanted_service(service, named)
    return [
        item
        for item in listed
        if item["service"] in here
        and only in {"", item["service"]}
        and (not named or item.get("component", item["name"]) == named)
    ]


def scope(service: str, named: str, tags: Collection[str] = ()) -> list[str]:
    """Services that a run looks at on every host; with `tags` of services (`--tags fincoll`) those alone."""
    only = wanted_service(service, named)
    return [only] if only else [one for one in COMPONENTS if one in tags] or list(COMPONENTS)
