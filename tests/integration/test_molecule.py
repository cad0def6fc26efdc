"""Molecule's scenario of inventory `local`: converged, converged again without a change, verified, destroyed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import ecosystem as support
from support.ecosystem import ROOT
from support.processes import environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_everything_on_this_machine() -> None:
    with support.temporary() as place:
        folder = Path(sys.executable).parent
        kept = environment()
        place_of = {"CAELUM_MOLECULE_PREFIX": str(place.prefix), "CAELUM_MOLECULE_PORTS": str(place.base)}
        done = subprocess.run(
            [str(folder / "molecule"), "test", "-s", "default"],
            cwd=ROOT,
            env={**kept, **place_of, "PATH": f"{folder}:{kept['PATH']}", "NO_COLOR": "1"},
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert " passed" in done.stdout
        assert not place.prefix.exists()
