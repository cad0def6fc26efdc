"""Runs a playbook of this checkout inside a lab."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.lab import network, source, variables
from tools.lab.errors import LabError
from tools.lab.inventory import ansible
from tools.lab.places import ROOT, Places

DEPLOYS = "deploy.yml"
BUILDS = "playbooks/build.yml"
DATABASE = "tools/lab/database.yml"


def asked(words: Sequence[str]) -> dict[str, str]:
    """The `key=value` pairs among the extra variables of a command line."""
    pairs: dict[str, str] = {}
    for option, value in itertools.pairwise(words):
        if option in ("-e", "--extra-vars") and not value.startswith(("@", "{")):
            named = (pair.partition("=") for pair in value.split() if "=" in pair)
            pairs.update({key: given for key, _, given in named})
    return pairs


def command(places: Places, words: Sequence[str]) -> list[str]:
    """The ansible-playbook command for `words`, which begin with nothing but options and the playbook."""
    return [ansible("playbook"), *variables.arguments(places), *words]


def environment(places: Places) -> dict[str, str]:
    """What Ansible runs with. The shared connections are the lab's own: another fleet has the same addresses."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(places.folder / "cp"),
        "SSH_AUTH_SOCK": "",
    }


def prepare(places: Places, words: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str] | None:
    """Tag the version that `words` name and build what its deployment needs of a package index; a build that failed.

    Both happen outside of the namespace, which has no way to an index.
    """
    if not network.exists(places):
        raise LabError(f"the lab {places.name!r} is not up; boot it with `make lab LAB_NAME={places.name}`")
    version = asked(words).get("version", "")
    deploys = _playbook(words) in (DEPLOYS, f"playbooks/{DEPLOYS}")
    if version and (deploys or _playbook(words) == BUILDS):
        source.offer(places, version)
    if version and deploys and "--check" not in words:
        built = _run(command(places, building(words)), places, capture)
        if built.returncode != 0:
            return built
    return None


def inside(places: Places, words: Sequence[str]) -> list[str]:
    """The command that runs the playbook of `words` in the namespace."""
    return [*network.enter(places), *command(places, words)]


def play(places: Places, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a playbook in the lab; its output is in the answer."""
    return prepare(places, words, capture=True) or _run(inside(places, words), places, capture=True)


def building(words: Sequence[str]) -> list[str]:
    """The words that build what the deployment of `words` deploys: its inventory and its variables."""
    kept: list[str] = []
    for option, value in itertools.pairwise(words):
        if option in ("-e", "--extra-vars", "-i", "--inventory"):
            kept += [option, value]
    return [*kept, BUILDS]


def prepare_database(places: Places, inventory: str) -> None:
    """Make the server that the inventory expects to exist already."""
    words = ["-i", str(ROOT / "inventory" / inventory), DATABASE]
    done = _run(inside(places, words), places, capture=True)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise LabError(f"could not prepare PostgreSQL: {said[-1].strip() if said else f'code {done.returncode}'}")


def _playbook(words: Sequence[str]) -> str:
    names = [word for word in words if word.endswith(".yml") and not word.startswith(("@", "-"))]
    return os.path.relpath(ROOT / names[-1], ROOT) if names else ""


def _run(argv: Sequence[str], places: Places, capture: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a list of our own
        argv, cwd=Path(ROOT), check=False, capture_output=capture, text=True, env=environment(places)
    )
