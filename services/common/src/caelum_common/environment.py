"""Where settings come from: the process's environment over the file that `CAELUM_ENV_FILE` names."""

import os
from pathlib import Path

from dotenv import dotenv_values

from caelum_common.start import CannotStart


def file() -> str | None:
    """The environment file; None where none is named. Raises CannotStart when it isn't there."""
    named = os.environ.get("CAELUM_ENV_FILE") or None
    if named and not Path(named).is_file():
        raise CannotStart(f"environment file {named} is not there; correct CAELUM_ENV_FILE or deploy again")
    return named


def values() -> dict[str, str]:
    """All settings as text, those that are empty left out. Raises CannotStart as `file` does."""
    named = file()
    found = {**(dotenv_values(named) if named else {}), **os.environ}
    return {key: value for key, value in found.items() if value}
