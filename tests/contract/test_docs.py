"""README and docs/ say what is so: fresh texts, commands and files that exist, error lines as the code says them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import error_lines, specification

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
README = TEXTS[Path("README.md")]
# What playbooks take besides the roles' variables.
WORDS = {"version", "service", "component", "rebuild", "break_glass", "reason", "limit", "adopt_step", "adopt_timezone"}
LINES = specification.load()


def docs(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/docs.py", *arguments]
    return subprocess.run(command, cwd=checkout, check=False, capture_output=True, text=True)


def test_the_generated_texts_are_fresh() -> None:
    check = docs(ROOT, "--check")
    assert check.returncode == 0, check.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the generator reads, to be changed by a test."""
    for name in ("README.md", "Makefile", "deploy.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("docs", "tools", "roles", "library", "playbooks", "tests/support"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    docs(tmp_path)
    assert docs(tmp_path, "--check").returncode == 0
    return tmp_path


@pytest.mark.parametrize(
    ("source", "before", "after", "stale"),
    [
        ("roles/fincoll/meta/argument_specs.yml", "default: 8001", "default: 8801", "README.md, docs/variables.md"),
        ("Makefile", "## List the targets", "## Name the targets", "docs/reference.md"),
        ("playbooks/build.yml", "# Builds", "# Makes", "docs/reference.md"),
        ("library/caelum_health.py", "short_description: Wait", "short_description: Pause", "docs/reference.md"),
        ("tests/support/specification.yml", "line: npm run dev", "line: npm start", "docs/specification.md"),
    ],
)
def test_a_change_of_the_code_makes_its_text_stale(
    checkout: Path, source: str, before: str, after: str, stale: str
) -> None:
    path = checkout / source
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    check = docs(checkout, "--check")
    assert check.returncode == 1
    assert check.stderr == f"{stale}: stale; write anew: make docs\n"
    docs(checkout)
    assert docs(checkout, "--check").returncode == 0


def test_without_a_dashboard_the_pictures_stay_and_it_is_said(checkout: Path) -> None:
    done = docs(checkout, str(checkout / "nothing"))
    assert done.returncode == 0
    assert "so the pictures stay; deploy first: make deploy VERSION=" in done.stdout


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading of README."""
    part = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    assert len(found) > 5
    return found[1:]


@pytest.mark.parametrize("cell", [cells[0] for cells in rows("Troubleshooting")])
def test_a_quoted_error_line_is_one_that_the_code_can_say(cell: str) -> None:
    quote = cell.strip("` ").strip("… ")
    assert len(quote.replace("…", "").strip()) > 10, "too little to tell it from others"
    assert error_lines.said(quote), f"no source says {quote!r}; quote it as it is now"


def test_the_proof_of_an_error_line_can_fail() -> None:
    assert error_lines.said("no space under …: … MiB are free, a deployment needs …")
    for wrong in ("no space under …: … GiB are free", "no room under …", "there is no variable …; … did you mean …?"):
        assert not error_lines.said(wrong)


def commands() -> Iterator[tuple[str, str]]:
    """(file, command) of every line and code span of the texts that could be typed, and of the specification's."""
    for path, text in TEXTS.items():
        for span in re.findall(r"`([^`\n]+)`|^    (\S.*)$", text, re.MULTILINE):
            yield str(path), "".join(span)
    yield from ((specification.FILE.name, line.here) for line in LINES)


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def variables() -> set[str]:
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    options: list[dict[str, Any]] = [entry["options"] for spec in specs for entry in spec["argument_specs"].values()]
    return {name for option in options for name in option}


def unknown(command: str) -> Iterator[str]:
    """What a command names and the checkout has not: make targets, playbooks, variables, paths."""
    for target in re.findall(r"\bmake ([a-z-]+)", command):
        if target not in targets():
            yield f"make {target}"
    for playbook in re.findall(r"[\w/-]+\.yml\b", command if "ansible-playbook" in command else ""):
        if not (ROOT / playbook).is_file():
            yield playbook
    for name in re.findall(r"-e '?([a-z_]+)=", command):
        if name not in variables() | WORDS:
            yield f"-e {name}="
    for path in re.findall(r"(?<![\w/])(?:tools|services|locks|playbooks)/[\w./-]*\w", command):
        if not (ROOT / path).exists():
            yield path


def test_every_command_of_the_texts_names_what_there_is() -> None:
    assert not [(where, command, wrong) for where, command in commands() for wrong in unknown(command)]


def test_every_command_that_the_code_tells_people_to_type_names_what_there_is() -> None:
    told = {span for text in error_lines.texts() for span in re.findall(r"`((?:make|ansible-playbook) [^`]+)`", text)}
    assert len(told) > 10
    assert not [(command, wrong) for command in sorted(told) for wrong in unknown(command.replace("…", " "))]


def test_every_link_and_picture_leads_somewhere() -> None:
    found = {
        (path, target)
        for path, text in TEXTS.items()
        for pair in re.findall(r"\]\(([^)#]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
        for target in pair
        if target and not target.startswith("http")
    }
    assert len(found) > 4
    assert not [(str(path), target) for path, target in found if not (ROOT / path.parent / target).is_file()]


def test_readme_begins_with_the_two_commands_and_names_every_folder() -> None:
    start = README.split("\n## ")[1]
    assert re.findall(r"^    (make \w+)", start, re.MULTILINE) == ["make deploy", "make test"]
    mapped = README.split("\n## Map\n")[1].split("\n## ")[0]
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    folders = {name.split("/")[0] for name in listed if "/" in name and not name.startswith(".")}
    assert not [folder for folder in sorted(folders) if f"`{folder}/" not in mapped]


def test_every_line_of_the_specification_is_run_or_has_its_reason() -> None:
    source = (ROOT / "tests/integration/test_specification.py").read_text()
    fleet = (ROOT / "tests/lab/test_fleet_specification.py").read_text()
    assert len(LINES) > 80
    for line in LINES:
        assert line.check or line.fleet or line.reason, line
        if line.check:
            assert f"\ndef {line.check}(" in source, line
        if line.fleet:
            assert f"\ndef {line.fleet}(" in fleet, line
    sections = {line.section for line in LINES}
    assert "Quick Reference Commands / Deploy New Version (Autonomous)" in sections
