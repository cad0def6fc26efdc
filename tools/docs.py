"""Writes the generated parts of README: the tables of variables, from the roles' argument specs.

`--check` changes nothing and fails when README is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ROLES = ("base", "release", "instance", "postgresql", "senvec", "finvec", "fincoll", "pim")
BEGIN, END = "<!-- variables: written by `make docs` -->", "<!-- end of variables -->"


def table(role: str) -> str:
    """Markdown table of one role's variables."""
    (spec,) = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"].values()
    rows = [f"| `{name}` | {shown(option)} | {option['description']} |" for name, option in spec["options"].items()]
    heading = f"**{role}**: {spec['short_description']}"
    return "\n".join([heading, "", "| variable | default | meaning |", "|---|---|---|", *rows])


def shown(option: dict[str, Any]) -> str:
    """A default as a reader of the table sees it; the choices where there are few."""
    default = option["default"]
    text = str(default).lower() if isinstance(default, bool) else str(default)
    value = f"`{text}`" if text else "empty"
    if "choices" in option:
        value += " of " + ", ".join(f"`{choice}`" if choice else "empty" for choice in option["choices"])
    return value.replace("|", "\\|")


def rendered(readme: str) -> str:
    """README with its generated part made anew."""
    tables = "\n\n".join(table(role) for role in ROLES)
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(readme):
        raise SystemExit(f"{README.name} has no part between {BEGIN!r} and {END!r}; put the two lines back")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{tables}\n\n{END}", readme)


def main(arguments: list[str]) -> int:
    """Write, or with `--check` compare; 1 when README is stale."""
    have = README.read_text()
    want = rendered(have)
    if have == want:
        return 0
    if "--check" in arguments:
        print("README.md is stale; write it anew: make docs", file=sys.stderr)
        return 1
    README.write_text(want)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
