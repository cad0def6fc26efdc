"""What a release was built for, and what a host is: Python's ABI, the platform and the C library."""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..commands import reason, run
from ..errors import Refused

_ASK = """import json, os, sys, sysconfig
libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
print(json.dumps([sys.implementation.cache_tag, sysconfig.get_platform(), libc, sys._base_executable]))
"""


@dataclass(frozen=True)
class Target:
    """`abi` as in cp311, `platform` as in linux_x86_64, `glibc` as in 2.36 ("" where there is none)."""

    abi: str
    platform: str
    glibc: str


def this_python() -> Target:
    """The target of the interpreter that runs this."""
    return _target(str(sys.implementation.cache_tag), sysconfig.get_platform(), os.confstr("CS_GNU_LIBC_VERSION") or "")


def ask(python: Path) -> tuple[Target, Path]:
    """The target of the interpreter at `python`, and the one behind it if it is a virtual environment's.

    Refused when it does not run.
    """
    if python.absolute() == Path(sys.executable).absolute():
        return this_python(), base_python()
    answer = run([str(python), "-I", "-c", _ASK])
    if answer.returncode != 0:
        raise Refused(f"{python} does not run as a Python: {reason(answer.stderr)}; correct release_python")
    *facts, base = json.loads(answer.stdout)
    return _target(*facts), Path(base)


def base_python() -> Path:
    """The interpreter behind the virtual environment that runs this."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def needed_glibc(wheels: Iterable[str]) -> str:
    """The lowest glibc on which all `wheels` (file names) load, by their manylinux tags; "" when all are pure."""
    return ".".join(map(str, max(map(_glibc_of_wheel, wheels), default=()))) or ""


def check(service: str, release: Target, host: Target) -> None:
    """Refused when a release built for `release` cannot run on `host`; `release.glibc` is the lowest that it needs."""
    if (release.abi, release.platform) != (host.abi, host.platform):
        raise Refused(
            f"the release of {service} was built for {release.abi} on {release.platform}, this host has {host.abi} on "
            f"{host.platform}; set release_python to a Python of this host that matches, or run Ansible with one like "
            "this host's: releases are built with it"
        )
    if _numbers(release.glibc) > _numbers(host.glibc):
        raise Refused(
            f"the release of {service} needs glibc {release.glibc}, this host has {host.glibc or 'none'}; "
            "build it on an older system, or upgrade this host"
        )


def _target(cache_tag: str, platform: str, libc: str) -> Target:
    abi = cache_tag.replace("cpython-", "cp")
    return Target(abi, re.sub(r"[-.]", "_", platform), libc.removeprefix("glibc "))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _glibc_of_wheel(name: str) -> tuple[int, ...]:
    """The oldest glibc that one of the wheel's platform tags allows; () for a pure wheel."""
    legacy = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    tags = name.removesuffix(".whl").rsplit("-", 1)[-1].split(".")
    found = [(int(major), int(minor)) for tag in tags for major, minor in re.findall(r"^manylinux_(\d+)_(\d+)_", tag)]
    found += [glibc for tag in tags for start, glibc in legacy.items() if tag.startswith(f"{start}_")]
    return min(found, default=())
