"""What is not as it was deployed, one line a finding, from what `verify.yml` gathered on each host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import topology

# Steps of a plan that would make a host as it was deployed, and what each says about the host now.
SAYINGS = (
    (re.compile(r"write (.+)"), r"\1 is not as it was deployed: it was edited, or its permissions were"),
    (re.compile(r"switch (\S+) from (\S+) to (\S+)"), r"slot \1 points to \2 instead of \3"),
    (re.compile(r"stop and forget (.+)"), r"\1 runs and was not deployed"),
    (re.compile(r"remove (.+)"), r"\1 is there and was not deployed"),
    (re.compile(r"make directory (\S+) (\d+)"), r"folder \1 is missing or has other permissions than \2"),
    (re.compile(r"start (\S+) with (.+)"), r"\1 does not run, and so none of \2"),
    (re.compile(r"end (\S+), pid (\d+), .*"), r"\1 runs as pid \2 without its supervisor"),
    (re.compile(r"apply (\S+) \((?:.*, )?restart, it runs release ([^,)]+).*\)"), r"\1 runs the code of \2"),
    (re.compile(r"apply (\S+) \((?:.*, )?restart, it runs with (.+)\)"), r"\1 runs with \2"),
    (re.compile(r"apply (\S+) \((?:.*, )?start, it was (\w+)\)"), r"\1 does not run: \2"),
    (re.compile(r"apply (\S+) \((?:.*, )?start\)"), r"\1 is stopped"),
)


def saying(step: str) -> str:
    """What a step of a plan says about the host as it is; empty where another step has said it already."""
    for pattern, text in SAYINGS:
        if match := pattern.fullmatch(step):
            return match.expand(text)
    return "" if step.startswith("apply ") else f"to be as deployed it takes: {step}"


def found_on(host: str, facts: Mapping[str, Any]) -> list[str]:
    """Findings of one host."""
    findings = []
    listing = facts["__verify_revisions"].get("services") or {}
    for service, of in sorted(listing.items()):
        if of["pending"]:
            findings.append(
                f"{service} stands half way: {of['pending']['version']} was begun and not finished; "
                f"return with `ansible-playbook rollback.yml -e service={service}`"
            )
    for plan in facts["__verify_plans"].get("results") or []:
        if "steps" not in plan:
            findings.append(f"{plan['item']} cannot be compared: {_said(plan)}")
        findings += [words for step in plan.get("steps") or [] if (words := saying(step))]
    code, health = facts["__verify_code"], facts["__verify_health"]
    findings += code["findings"] if "findings" in code else [f"the code cannot be compared: {_said(code)}"]
    if "instances" not in health:
        findings.append(f"the instances cannot be asked: {_said(health)}")
    findings += [
        f"{probe['name']} is {probe['status']}: {probe.get('detail') or 'it does not answer'}"
        for probe in health.get("instances") or []
        if probe["status"] != "healthy"
    ]
    return [f"{host}: {finding}" for finding in findings]


def against_history(hosts: Iterable[Mapping[str, Any]], history: Mapping[str, Any]) -> list[str]:
    """Where the hosts and the history do not say the same."""
    if "history" not in history:
        return [f"the history cannot be compared: {_said(history)}"]
    findings = [
        f"deployment {row['id']} of {row['service']} {row['version']} ({row['component']}) is open, held by "
        f"{row['requested_by']}; wait for it, or end it with `ansible-playbook abort.yml -e service={row['service']}`"
        for row in history["history"]
        if row["status"] == "in_progress"
    ]
    for facts in hosts:
        live = _live(history["history"], str(facts.get("caelum_address", "")))
        for service, of in sorted((facts["__verify_revisions"].get("services") or {}).items()):
            releases: dict[str, list[str]] = {}
            for one in (of["current"] or {}).get("instances", []):
                releases.setdefault(topology.component(*str(one["name"]).split("@")), []).append(str(one["release"]))
            findings += [
                f"{facts['inventory_hostname']}: {component} is at {' and '.join(sorted(set(here)))}, the history's "
                f"last success is {live[service, component]}"
                for component, here in releases.items()
                if (service, component) in live and live[service, component] not in here
            ]
    return findings


def _live(rows: Iterable[Mapping[str, Any]], address: str) -> dict[tuple[str, str], str]:
    """By service and component the version that the newest success on this host gave it, to one of its slots."""
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        where = str(row.get("host") or "")
        # of many hosts the column names some and counts the others, any of which may be this one
        here = not where or address in where.split(", ") or " and " in where
        if here and row["status"] == "success" and row["action"] in {"deploy", "promote", "rollback"}:
            found.setdefault((row["service"], row["component"]), str(row["version"]))
    return found


def _said(result: Mapping[str, Any]) -> str:
    """Why a task has no result of its own; `failed` does not tell, since the playbook goes on whatever they say."""
    return str(result.get("msg") or "it gave no answer")


def drift(hosts: Iterable[Mapping[str, Any]], history: Mapping[str, Any]) -> list[str]:
    """All findings: the hosts' own, then what the history says otherwise."""
    known = [facts for facts in hosts if "__verify_revisions" in facts]
    own = [line for facts in known for line in found_on(str(facts["inventory_hostname"]), facts)]
    return [*own, *against_history(known, history)]


def lines(findings: Iterable[str]) -> list[str]:
    """What verify.yml prints."""
    listed = list(findings)
    if not listed:
        return ["", "everything is as it was deployed", ""]
    return ["", *(f"  differs  {line}" for line in listed), ""]
