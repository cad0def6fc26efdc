"""Keys of providers that lie on the share, read for the instances that use them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..release.guard import guarded

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
    text: str | None = guarded(lambda _: _read(path), seconds, path.parent)
    return text


def _read(path: Path) -> str | None:
    """The text of one file, judged and read through the same descriptor: the share's names may change meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        _refuse_link(path)
        raise Refused(f"{path} cannot be read: {error.strerror}; let root of this host read it") from None
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as file:
        _refuse_others(path, os.fstat(descriptor))
        return file.read()


def refuse_open(path: Path) -> None:
    """Refused when there is such a file and it is not one that `read` takes. For a share that is known to answer."""
    with suppress(FileNotFoundError):
        _refuse_link(path)
        _refuse_others(path, path.lstat())


def _refuse_link(path: Path) -> None:
    """Whoever may write to the share could have root read any file of the host by one."""
    if path.is_symlink():
        raise Refused(f"{path} is a link, which is not followed; put the file itself there, with mode 0600")


def _refuse_others(path: Path, status: os.stat_result) -> None:
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{path} holds a secret and has mode {mode:04o}, so others may read it; `chmod 600 {path}`")
    if owner not in {0, path.parent.stat().st_uid}:
        raise Refused(
            f"{path} holds a secret and belongs to number {owner}, neither root nor the owner of its folder; "
            f"`chown --reference={path.parent} {path}`"
        )
