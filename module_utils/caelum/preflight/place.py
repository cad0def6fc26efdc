"""Whether a deployment can live in the folder that it is to live in."""

from __future__ import annotations

import os
from pathlib import Path

from .asked import Asked

# supervisord binds <socket>.<pid> first, and the kernel takes 107 bytes.
SOCKET_BYTES = 99


def prefix(asked: Asked) -> str:
    if not asked.prefix.startswith("/"):
        return (
            f"caelum_prefix {asked.prefix!r} does not begin with a slash, so its place would depend on where the run "
            f"was started; write it in full, as in -e caelum_prefix={Path(asked.prefix).absolute()}"
        )
    if asked.runtime == "systemd":
        if asked.prefix == "/":
            return ""
        return (
            f"caelum_prefix is {asked.prefix}, and systemd reads units of the whole host alone; leave it "
            "out, or set it to / for runtime systemd"
        )
    if not asked.prefix.rstrip("/"):
        return "caelum_prefix is /, which runtime native would fill; choose a folder with -e caelum_prefix="
    path = f"{asked.prefix.rstrip('/')}/run/supervisor.sock"
    length = len(os.fsencode(path))
    if length <= SOCKET_BYTES:
        return ""
    return (
        f"the socket path {path} has {length} bytes, and {SOCKET_BYTES} is the limit; "
        "choose a shorter folder with -e caelum_prefix="
    )


def folders(asked: Asked) -> str:
    """As root PostgreSQL runs as a system user, which must be able to enter every folder above its own."""
    if not asked.as_root or asked.runtime != "native":
        return ""
    for folder in (*reversed(Path(asked.prefix).parents), Path(asked.prefix)):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            return (
                f"the system user of PostgreSQL cannot enter {folder} on the way to {asked.prefix}; "
                f"allow it with `chmod o+x {folder}` or choose another prefix with -e caelum_prefix="
            )
    return ""


CHECKS = (prefix, folders)
