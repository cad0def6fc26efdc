"""Keys of providers that lie on the share, read for the instances that use them."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import Refused

READ_S = 5.0


def resolved(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Instances whose `credential_files` became `credentials`, as far as the files are there.

    Refused when others may read such a file, or when the share does not answer.
    """
    return [_resolved(item) for item in items]


def _resolved(item: Mapping[str, Any]) -> dict[str, Any]:
    files = item.get("credential_files") or {}
    found = {name: read(Path(str(path))) for name, path in files.items()}
    there = {name: text for name, text in found.items() if text is not None}
    return {**item, "credential_files": {}, "credentials": {**(item.get("credentials") or {}), **there}}


def read(path: Path, seconds: float = READ_S) -> str | None:
    """Text of a file that only its owner may read, root or the share's; None where there is none.

    Read by a child that is left behind if need be: the kernel may not let go of it while the share hangs.
    """
    words = ["sh", "-c", 'stat -L -c "%a %u" -- "$1" "${1%/*}" && exec cat -- "$1"', "sh", str(path)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - argv is ours, the path an argument
    try:
        out, said = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        raise Refused(
            f"{path} cannot be read: the share does not answer within {seconds:g} s; look at its server"
        ) from None
    text = said.decode(errors="replace").strip()
    if "No such file" in text:
        return None
    if child.returncode != 0:
        raise Refused(f"{path} cannot be read: {text.rpartition(': ')[2]}; let root of this host read it")
    file, folder, content = out.decode(errors="surrogateescape").split("\n", 2)
    mode, owner = file.split()
    _refuse_others(path, int(mode, 8), int(owner), int(folder.split()[1]))
    return content


def refuse_open(path: Path) -> None:
    """Refused when there is such a file and others may read it. For a share that is known to answer."""
    with suppress(FileNotFoundError):
        status = path.stat()
        _refuse_others(path, stat.S_IMODE(status.st_mode), status.st_uid, path.parent.stat().st_uid)


def _refuse_others(path: Path, mode: int, owner: int, folder_owner: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{path} holds a secret and has mode {mode:04o}, so others may read it; `chmod 600 {path}`")
    if owner not in {0, folder_owner}:
        raise Refused(
            f"{path} holds a secret and belongs to number {owner}, neither root nor the owner of its folder; "
            f"`chown --reference={path.parent} {path}`"
        )
