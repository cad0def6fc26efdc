"""What cannot work is refused before anything changes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.deploying import deploy, newest, refused, rows
from support.ecosystem import Ecosystem

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-e", "version=v1.1"), "'v1.1' is not a version"),
        (("-e", "version=v1.1.0", "-e", "fincol_port=1"), "no variable fincol_port; did you mean fincoll_port?"),
        (("-e", "version=v1.2.0", "-e", "caelum_free_mib=99999999"), "caelum_free_mib"),
        (("-e", "version=v1.1.0", "-e", "service=pimm"), "there is no service 'pimm'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_and_changes_nothing(
    live: Ecosystem, arguments: tuple[str, ...], words: str
) -> None:
    before, since = live.processes(), newest(live)
    assert words in refused(live.playbook("deploy.yml", *arguments))
    assert live.processes() == before
    assert rows(live, since) == []


def test_a_taken_port_is_refused_before_anything_changes(at_v110: Ecosystem) -> None:
    before, since = at_v110.processes(), newest(at_v110)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as owner:
        assert owner.stdout
        port = int(owner.stdout.readline().split("port ")[1].split()[0])
        try:
            last = refused(deploy(at_v110, "v1.2.0", "-e", f"pim_port={port - at_v110.base}"))
        finally:
            owner.terminate()
    assert str(port) in last
    assert str(owner.pid) in last
    assert "pim_port" in last
    assert at_v110.processes() == before
    assert rows(at_v110, since) == [], "SenVec, which comes before PIM, was not touched either"
