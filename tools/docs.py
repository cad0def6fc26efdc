"""Writes what README and docs/ say of the code: variables, make targets, playbooks, modules, the specification's lines.

`tools/docs.py PREFIX` also makes the screenshots anew, where a dashboard of that deployment answers. `--check` changes
nothing and fails when a text is stale.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
# In the order in which a deployment meets them; others follow.
ROLES = ("base", "release", "instance", "postgresql", "senvec", "finvec", "fincoll", "pim")
# Those that README itself explains.
EVERYDAY = (
    "caelum_prefix", "caelum_port_base", "caelum_environment", "caelum_data", "caelum_ready_timeout",
    "caelum_keep_releases", "caelum_log_level", "senvec_versions", "finvec_job", "finvec_bootstrap", "fincoll_slots",
    "fincoll_port", "pim_port", "pim_watchlist",
)  # fmt: skip
BEGIN, END = "<!-- variables: written by `make docs` -->", "<!-- end of variables -->"
NOTE = "<!-- written by `make docs`; change the sources, not this file -->"


def rows(head: str, cells: Iterable[Iterable[str]]) -> str:
    """A Markdown table; `head` is its first row, cells hold no line ends."""
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([head, re.sub(r"[^|]+", "---", head), *lines])


def specs() -> dict[str, dict[str, Any]]:
    """Argument spec of each role."""
    found = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
    order = [*ROLES, *(name for name in found if name not in ROLES)]
    return {role: _spec(ROOT / "roles" / role / "meta/argument_specs.yml") for role in order}


def _spec(path: Path) -> dict[str, Any]:
    (spec,) = yaml.safe_load(path.read_text())["argument_specs"].values()
    return dict(spec)


def shown(option: Mapping[str, Any]) -> str:
    """A default as a reader of the table sees it; the choices where there are few."""
    default = option["default"]
    text = str(default).lower() if isinstance(default, bool) else str(default)
    value = f"`{text}`" if text else "empty"
    if "choices" in option:
        value += " of " + ", ".join(f"`{choice}`" if choice else "empty" for choice in option["choices"])
    return value.replace("|", "\\|")


def table(options: Mapping[str, Mapping[str, Any]]) -> str:
    """Table of variables."""
    cells = ((f"`{name}`", shown(option), option["description"]) for name, option in options.items())
    return rows("| variable | default | meaning |", cells)


def readme(have: str) -> str:
    """README with its generated part made anew: the variables that most people need."""
    every = {name: option for spec in specs().values() for name, option in spec["options"].items()}
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(have):
        raise SystemExit(f"README.md has no part between {BEGIN!r} and {END!r}; put the two lines back")
    chosen = table({name: every[name] for name in EVERYDAY})
    return pattern.sub(lambda _: f"{BEGIN}\n\n{chosen}\n\n{END}", have)


def variables(_: str) -> str:
    """All variables of all roles."""
    parts = [f"## {role}\n\n{spec['short_description']}.\n\n{table(spec['options'])}" for role, spec in specs().items()]
    lead = "Pass them with `-e`, or set them in the inventory. A misspelled one is refused, and the right one named."
    return "\n\n".join([NOTE, "# Variables", lead, *parts]) + "\n"


def reference(_: str) -> str:
    """Make targets, playbooks and modules, each with its own first words."""
    make = re.findall(r"^([a-z-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [*sorted(ROOT.glob("*.yml")), *sorted(ROOT.glob("playbooks/*.yml"))]
    modules = [(path.stem, yaml.safe_load(_documentation(path))) for path in sorted(ROOT.glob("library/caelum_*.py"))]
    parts = [
        NOTE,
        "# Reference",
        "## Make targets",
        rows("| target | does |", ((f"`make {name}`", says.replace("|", "\\|")) for name, says in make)),
        "## Playbooks",
        rows("| playbook | does |", ((f"`{path.relative_to(ROOT)}`", _purpose(path)) for path in named)),
        "## Modules",
        "Each is one transaction: it observes, plans and applies; check mode and `--diff` show the plan. "
        "The manual of one: `.venv/bin/ansible-doc -M library caelum_instance`.",
        rows("| module | does |", ((f"`{name}`", says["short_description"]) for name, says in modules)),
    ]
    return "\n\n".join(parts) + "\n"


def _documentation(module: Path) -> str:
    found = re.search(r'^DOCUMENTATION = r?"""\n?(.*?)"""', module.read_text(), re.DOTALL | re.MULTILINE)
    if found is None:
        raise SystemExit(f"{module.relative_to(ROOT)} has no DOCUMENTATION; write it")
    return found[1]


def _purpose(playbook: Path) -> str:
    """The comment that a playbook begins with, as one line."""
    lines = []
    for line in playbook.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    if not lines:
        raise SystemExit(f"{playbook.relative_to(ROOT)} begins with no comment; say in one what it does")
    return " ".join(lines).replace("|", "\\|")


def specification(_: str) -> str:
    """What became of every line of the specification."""
    served: list[list[str]] = []
    fleet: list[list[str]] = []
    rest: list[list[str]] = []
    for section in yaml.safe_load((ROOT / "tests/support/specification.yml").read_text()):
        for line in section["lines"]:
            both = {**section, **line}
            cells = [section["section"].rpartition(" / ")[2], _code(both["line"])]
            here = f"`{both['here']}`" if both.get("here", "").startswith(("make ", "sudo ")) else both.get("here", "")
            table = rest if both.get("reason") else fleet if both.get("fleet") else served
            table.append([*cells, both.get("reason", ""), here])
    parts = [
        NOTE,
        "# The specification's commands",
        "Every command, endpoint, script, setting and address that the specification writes down. "
        "`tests/integration/test_specification.py` runs those of the first table on a deployment of this machine, "
        "word for word but for the host, the port base and the token.",
        "## Served",
        rows("| section | line |", (row[:2] for row in served)),
        "## Served by a fleet",
        "`tests/lab/test_fleet_specification.py` runs these on the production inventory's hosts, booted in the lab.",
        rows("| section | line |", (row[:2] for row in fleet)),
        "## Not served, or in other words",
        rows("| section | line | why | here |", rest),
    ]
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    """A line as code in a cell; of several the first."""
    first, *more = text.replace("|", "\\|").splitlines()
    fence = "``" if "`" in first else "`"
    return fence + first.rstrip(" \\") + (" …" if more else "") + fence


TEXTS: dict[str, Callable[[str], str]] = {
    "README.md": readme,
    "docs/variables.md": variables,
    "docs/reference.md": reference,
    "docs/specification.md": specification,
}


def screenshots(prefix: Path) -> int:
    """Pictures of the dashboard that answers under `prefix`; without one they stay as they are, and it is said."""
    settings = prefix / "etc/caelum/pim-web@stable.env"
    found = re.search(r"^PIM_PORT=(\d+)$", settings.read_text(), re.MULTILINE) if settings.is_file() else None
    url = f"http://127.0.0.1:{found[1]}/" if found else ""
    if not (url and _answers(url)):
        print(f"no dashboard answers under {prefix}, so the pictures stay; deploy first: make deploy VERSION=v1.1.0")
        return 0
    return subprocess.run([sys.executable, "tools/screenshot.py", url], cwd=ROOT, check=False).returncode  # noqa: S603


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no 127.0.0.1 of ours
    try:
        with direct.open(url, timeout=10):
            return True
    except (urllib.error.URLError, OSError):
        return False


def main(arguments: list[str]) -> int:
    """Write, or with `--check` compare; 1 when a text is stale."""
    stale = []
    for name, written in TEXTS.items():
        path = ROOT / name
        have = path.read_text() if path.is_file() else ""
        want = written(have)
        if have != want:
            stale.append(name)
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(want)
    if "--check" in arguments:
        if stale:
            print(f"{', '.join(stale)}: stale; write anew: make docs", file=sys.stderr)
        return 1 if stale else 0
    return screenshots(Path(arguments[0])) if arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
