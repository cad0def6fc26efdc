"""The dump before an adoption, which is read back before it counts."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..database import migrations
from ..errors import Refused


def make_dump(pg_dump: Path, login: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Dump the database of `login` to `target` and read its contents back; its path, bytes and entries."""
    migrations.dump(pg_dump, login, target)
    restore = pg_dump.with_name("pg_restore")
    listed = subprocess.run(  # noqa: S603 - the program beside the one that dumped
        [restore, "--list", target], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    tables = re.findall(r"^\d+; .* TABLE DATA (\S+ \S+) ", listed.stdout, re.MULTILINE)
    if listed.returncode or not tables:
        target.unlink()
        said = (listed.stderr.strip().splitlines() or ["it lists no table"])[-1]
        raise Refused(
            f"the dump cannot be read back: {said}; nothing was changed, look at the space of {target.parent}"
        )
    return {"path": str(target), "bytes": target.stat().st_size, "tables": sorted(tables)}
