#!/usr/bin/env python3
"""The specification's name for `python -m finvec.train`: `python train_production.py --job llm1-tech`.

Runs FinVec from this interpreter where it is installed, else from the release that the checkout's deployment uses,
with the settings of that deployment.
"""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
INSTANCE = "finvec-train@llm1"


def prefixes() -> list[Path]:
    """Where a deployment of this checkout may be: what CAELUM_PREFIX says, or the `local` inventory's two places."""
    if os.environ.get("CAELUM_PREFIX"):
        return [Path(os.environ["CAELUM_PREFIX"])]
    named = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    return [CHECKOUT / ".caelum", Path(f"/opt/caelum-{named}")]


def main() -> int:
    """Replaces this process by the training; returns only when it can't."""
    places = prefixes()
    settings = [prefix / "etc/caelum" / f"{INSTANCE}.env" for prefix in places]
    for file in filter(Path.is_file, settings):
        os.environ.setdefault("CAELUM_ENV_FILE", str(file))
    pythons = [prefix / "opt/caelum/finvec/slots" / INSTANCE / "bin/python" for prefix in places]
    if importlib.util.find_spec("finvec"):
        pythons = [Path(sys.executable)]
    python = next(filter(Path.is_file, pythons), None)
    if python is None:
        looked = " or ".join(map(str, places))
        print(f"finvec: not installed in this Python nor deployed under {looked}; run `make deploy`", file=sys.stderr)
        return 78
    return os.execv(python, [str(python), "-m", "finvec.train", *sys.argv[1:]])  # noqa: S606 - ours, no shell


if __name__ == "__main__":
    sys.exit(main())
