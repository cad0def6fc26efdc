"""Which arguments and variables of a process may be written down: what could be a secret is not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "(not kept)"
_NAMES = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|DSN|DATABASE_URL|COOKIE|SALT|PRIVATE|WEBHOOK", re.IGNORECASE
)
_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_RANDOM = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_PLACES = ("PWD", "OLDPWD")
_FLAG = re.compile(r"^--?([A-Za-z0-9_-]+)(?:=(.*))?$", re.DOTALL)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable could be a secret: by its name, a password in an address, or letters without a meaning."""
    if _WITH_PASSWORD.search(value):
        return True
    if name in _PLACES or (name.upper().endswith(("_DIR", "_FILE", "_PATH", "_HOME")) and value.startswith("/")):
        return False
    return bool(_NAMES.search(name)) or _is_random(value)


def kept(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables that may be written down, and the names of those that may not."""
    open_ones = {name: value for name, value in environment.items() if not is_secret(name, value)}
    return open_ones, sorted(set(environment) - set(open_ones))


def shown(arguments: Sequence[str]) -> list[str]:
    """The arguments with what could be a secret hidden."""
    found: list[str] = []
    after_flag = False
    for argument in arguments:
        flag = _FLAG.match(argument)
        if after_flag and not argument.startswith("-"):
            found.append(HIDDEN)
        elif flag and flag[2] is not None and is_secret(flag[1].replace("-", "_"), flag[2]):
            found.append(f"{argument.partition('=')[0]}={HIDDEN}")
        else:
            found.append(HIDDEN if _WITH_PASSWORD.search(argument) or _is_random(argument) else argument)
        after_flag = bool(flag and flag[2] is None and _NAMES.search(flag[1]))
    return found


def _is_random(value: str) -> bool:
    """Long, of one piece, with letters and digits mixed, and no path."""
    return bool(
        _RANDOM.fullmatch(value)
        and not value.startswith("/")
        and re.search(r"\d", value)
        and re.search(r"[A-Za-z]", value)
    )
