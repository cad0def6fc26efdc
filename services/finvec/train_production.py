#!/usr/bin/env python3
"""The specification's name for `python -m finvec.train`: `python train_production.py --job llm1-tech`.

Runs FinVec from this interpreter where it is installed, else from the release that the checkout's deployment uses,
with the settings of that deployment. Without `--job`, as the specification types it, it trains `llm1-tech`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
INSTANCE = "finvec-train@llm1"
JOB = ("--job", "llm1-tech")  # a later --job wins


def prefix() -> Path:
    """Where the deployment of this checkout is: what CAELUM_PREFIX says, or where `make deploy` puts it."""
    named = os.environ.get("CAELUM_PREFIX")
    return Path(named or subprocess.check_output([CHECKOUT / "tools/prefix.sh"], text=True).strip())  # noqa: S603


def main() -> int:
    """Replaces this process by the training; returns only when it can't."""
    place = prefix()
    settings = place / "etc/caelum" / f"{INSTANCE}.env"
    if settings.is_file():
        os.environ.setdefault("CAELUM_ENV_FILE", str(settings))
    python = place / "opt/caelum/finvec/slots" / INSTANCE / "bin/python"
    if importlib.util.find_spec("finvec"):
        python = Path(sys.executable)
    if not python.is_file():
        print(f"finvec: not installed in this Python nor deployed under {place}; run `make deploy`", file=sys.stderr)
        return 78
    return os.execv(python, [str(python), "-m", "finvec.train", *JOB, *sys.argv[1:]])  # noqa: S606 - ours, no shell


if __name__ == "__main__":
    sys.exit(main())
