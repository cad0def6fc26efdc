"""Which release of the code runs in this process."""

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Release(NamedTuple):
    """A version, and the git commit it was built from (None when it runs from a checkout)."""

    version: str
    commit: str | None


@cache
def current() -> Release:
    """The release this interpreter was installed with; `dev` outside of one.

    Cached, and resolved through symbolic links at the first call: a slot may point to another release later,
    while this process keeps running the old code.
    """
    manifest = Path(os.path.realpath(sys.prefix)) / "manifest.json"
    try:
        fields = json.loads(manifest.read_bytes())
    except FileNotFoundError:
        return Release("dev", None)
    return Release(str(fields["version"]), fields.get("commit"))
