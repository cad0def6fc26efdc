"""What the first deployment of inventory `local` leaves on the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from testinfra.host import Host

PREFIX = Path(os.environ["CAELUM_MOLECULE_PREFIX"])
BASE = int(os.environ.get("CAELUM_MOLECULE_PORTS", "11000"))
PORTS = (5000, 8001, 15433, 18000, 18001, 18002, 18003, 18004)
INSTANCES = ("fincoll@stable", "pim-web@stable", "pim-worker@stable", "aggregator@stable", "news@stable")


@pytest.mark.parametrize("port", PORTS)
def test_every_port_listens_on_loopback_alone(host: Host, port: int) -> None:
    assert host.socket(f"tcp://127.0.0.1:{port + BASE}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{port + BASE}").is_listening


@pytest.mark.parametrize("instance", INSTANCES)
def test_settings_are_readable_by_owner_and_group_alone(host: Host, instance: str) -> None:
    file = host.file(str(PREFIX / "etc/caelum" / f"{instance}.env"))
    assert file.is_file
    assert file.mode == 0o640


def test_secrets_are_the_owners(host: Host) -> None:
    folder = host.file(str(PREFIX / "etc/caelum/secrets"))
    assert folder.mode == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (PREFIX / "etc/caelum/secrets").iterdir())


def test_a_release_cannot_be_written_by_those_who_run_it(host: Host) -> None:
    slot = host.file(str(PREFIX / "opt/caelum/fincoll/slots/fincoll@stable"))
    assert slot.is_symlink
    manifest = json.loads((Path(slot.linked_to) / "manifest.json").read_text())
    assert manifest["version"] == "v1.1.0"
    assert Path(slot.linked_to).stat().st_mode & 0o022 == 0


def test_fincoll_predicts(host: Host) -> None:
    answer = json.loads(host.check_output("curl -sf http://127.0.0.1:%s/predict/AAPL", str(BASE + 8001)))
    assert answer["version"] == "v1.1.0"
    assert answer["source"]
