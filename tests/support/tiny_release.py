"""A repository with two tiny packages and one third-party wheel: releases are built from it in a second, offline."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from support.ansible_path import ROOT

_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def _library() -> Any:
    """The module's file, loaded as Ansible would."""
    location = importlib.util.spec_from_file_location("caelum_release", ROOT / "library/caelum_release.py")
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


LIBRARY = _library()


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str], tag: str = "py3-none-any") -> Path:
    """A wheel made by hand, with the same bytes each time."""
    info = f"{name}-{version}.dist-info"
    members = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*members, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in members.items():
            wheel.writestr(zipfile.ZipInfo(member), text)
    return path


def lock_line(wheel: Path) -> str:
    """The line of a lock that pins `wheel`."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True)
class Tiny:
    """The repository, its index of wheels, and where the tests put store, host and keys."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "repository"

    @property
    def index(self) -> Path:
        return self.base / "index"

    @property
    def store(self) -> Path:
        return self.base / "store"

    @property
    def prefix(self) -> Path:
        return self.base / "host"

    @property
    def key(self) -> Path:
        return self.base / "keys/release.key"

    def release(self, version: str = "v1.0.0") -> Path:
        """Where the host has a release of the demo service."""
        return self.prefix / "opt/caelum/demo/releases" / version

    def git(self, *arguments: str) -> str:
        """Run git in the repository, free of the user's own settings."""
        argv = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, env=os.environ | _GIT).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file of the repository."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def service(self, version: str = "v1.0.0", **more: Any) -> dict[str, Any]:
        """An entry of `services` for the demo service."""
        packages = ["services/common", "services/demo"]
        return {"name": "demo", "version": version, "lock": "locks/demo.txt", "packages": packages} | more

    def parameters(self, state: str, **given: Any) -> dict[str, Any]:
        """The module's parameters for `state`, with those of `given` instead where there are any."""
        places: dict[str, Any] = {
            "source": self.root,
            "store": self.store,
            "pool": self.base / "pool",
            "signing_key": self.key,
        }
        host: dict[str, Any] = {"prefix": self.prefix, "public_key": f"{self.key}.pub"}
        parameters: dict[str, dict[str, Any]] = {
            "built": places | {"create_key": True, "services": [self.service()]},
            "published": {},
            "installed": {"store": self.store, "services": [self.service()]} | host,
            "listed": {"store": self.store, "prefix": self.prefix},
            "pruned": {"store": self.store, "prefix": self.prefix},
            "verified": {"prefix": self.prefix},
        }[state]
        asked = {name: str(value) if isinstance(value, Path) else value for name, value in (parameters | given).items()}
        return asked | {"state": state}

    def run(self, state: str, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        """What the module does for `state`, with its own argument spec applied; raises Refused."""
        asked = self.parameters(state, **given)
        checked = ArgumentSpecValidator(LIBRARY.SPEC, required_if=LIBRARY.REQUIRED).validate(asked)
        assert not checked.error_messages, checked.error_messages
        result: dict[str, Any] = LIBRARY.STATES[state](checked.validated_parameters, check_mode)
        return result


def tiny_repository(base: Path) -> Tiny:
    """Make the repository with one commit, and the index that its lock needs; the caller keeps pip offline."""
    tiny = Tiny(base)
    wheel = write_wheel(tiny.index, "leftpad", "1.3", {"leftpad.py": "def pad(text):\n    return ' ' + text\n"})
    tiny.write("locks/demo.txt", lock_line(wheel))
    for name, package in (("common", "tiny_common"), ("demo", "tiny_demo")):
        tiny.write(
            f"services/{name}/pyproject.toml",
            f'[project]\nname = "{package.replace("_", "-")}"\nversion = "0"\n'
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            f'[tool.hatch.build.targets.wheel]\npackages = ["src/{package}"]\n',
        )
        tiny.write(f"services/{name}/src/{package}/__init__.py", f'NAME = "{name}"\n')
    tiny.write(".gitignore", "*.secret\n__pycache__/\n")
    tiny.git("init", "-q", "-b", "main")
    commit_all(tiny, "first")
    return tiny


def commit_all(tiny: Tiny, message: str) -> str:
    """Commit the working tree; the commit's name."""
    tiny.git("add", "-A")
    tiny.git("commit", "-q", "-m", message)
    return tiny.git("rev-parse", "HEAD")


def python_says(release: Path, code: str) -> str:
    """What the release's own Python prints."""
    argv = [str(release / "bin/python"), "-I", "-c", code]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
