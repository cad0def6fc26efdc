"""A host that runs the services as the specification describes them is taken over by adopt.yml, and given back."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.lab.host import Host

from support.adopt import ROWS, SPECIFICATION
from support.lab import Machines, machines

pytestmark = pytest.mark.lab
ADDRESS, NAME = "10.32.3.27", "wsl-27"
SENVEC = {"aggregator": 18000, "sentimentrader": 18001, "alphavantage": 18002, "social": 18003, "news": 18004}
UNIT = "[Service]\nExecStart={}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"
CASES = " ".join(f"{name}) port={port};;" for name, port in SENVEC.items())
TEMPLATE = UNIT.format(f"/bin/sh -c 'case %i in {CASES} esac; exec python3 /opt/old/serve.py $port'")
SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"version": "v1.0.0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""
PREPARE_POSTGRESQL = """
set -e
echo "listen_addresses = '*'" >> /etc/postgresql/15/main/postgresql.conf
echo 'host all all 10.32.3.0/24 scram-sha-256' >> /etc/postgresql/15/main/pg_hba.conf
systemctl enable --quiet postgresql
systemctl restart postgresql
until runuser -u postgres -- psql -qc 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
runuser -u postgres -- psql -qc "ALTER ROLE postgres PASSWORD 'hush-admin'" -c "CREATE ROLE pim_user LOGIN" \
    -c 'CREATE DATABASE pim_database OWNER pim_user'
runuser -u postgres -- psql -q pim_database -v ON_ERROR_STOP=1 -f /opt/old/tables.sql
"""


class Old:
    """The host with everything of old on it, and adopt.yml against it."""

    def __init__(self, have: Machines, folder: Path) -> None:
        self.machines, self.host = have, have[NAME]
        self.inventory = folder / "inventory"
        (self.inventory / "group_vars/all").mkdir(parents=True)
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(self._hosts()))
        (self.inventory / "group_vars/all/topology.yml").write_text(yaml.safe_dump(self._variables()))

    def _hosts(self) -> dict[str, Any]:
        everywhere: dict[str, Any] = {
            name: {"hosts": {NAME: {}}} for name in ("database", "senvec", "finvec", "fincoll", "pim")
        }
        one = {"ansible_host": ADDRESS, "caelum_address": ADDRESS, "ansible_python_interpreter": "/usr/bin/python3"}
        return {"all": {"hosts": {NAME: one}, "children": everywhere}}

    def _variables(self) -> dict[str, Any]:
        return {
            **{"caelum_inventory": "production", "caelum_environment": "prod", "caelum_runtime": "systemd"},
            **{"caelum_prefix": "/", "caelum_share": self.host.share, "postgresql_mode": "existing"},
            **{"caelum_database_address": ADDRESS, "caelum_database_port": 5432, "caelum_database_sslmode": "prefer"},
            **{"vault_postgresql_admin_password": "hush-admin", "vault_pim_owner_password": "hush-owner"},
        }

    def adopt(self, *words: str) -> str:
        """What adopt.yml prints; it must succeed."""
        done = self.machines.playbook("-i", str(self.inventory), "adopt.yml", *words)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "hush" not in said
        return said

    def sh(self, script: str) -> str:
        return str(self.host.run(["sh", "-c", script]).stdout)

    def listening(self) -> set[int]:
        """Which of the services' ports are listened on."""
        found = {int(line.split()[3].rpartition(":")[2]) for line in self.sh("ss -Hltn").splitlines()}
        return found & {5000, 8001, 8002, *SENVEC.values()}

    def until(self, ports: set[int]) -> None:
        end = time.monotonic() + 20
        while self.listening() != ports:
            assert time.monotonic() < end, self.listening()
            time.sleep(0.2)

    def tables(self) -> str:
        return self.sh("runuser -u postgres -- pg_dump pim_database | grep -v restrict")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    with machines("adopt", {NAME: ADDRESS}) as have:
        made = Old(have, tmp_path_factory.mktemp("adopt"))
        install(made.host)
        made.until(ports_of_old())
        yield made


def ports_of_old() -> set[int]:
    return {8001, 8002, *SENVEC.values()} | ({5000} if has_pm2() else set())


def has_pm2() -> bool:
    return shutil.which("pm2") is not None and shutil.which("node") is not None


def install(host: Host) -> None:
    """FinColl and SenVec as units, a second FinColl by hand, and PIM in PM2 where this machine can lend one."""
    old = host.root / "opt/old"
    old.mkdir()
    (old / "serve.py").write_text(SERVE)
    (old / "tables.sql").write_text(SPECIFICATION + ROWS)
    units = host.root / "etc/systemd/system"
    (units / "fincoll.service").write_text(UNIT.format("/usr/bin/python3 /opt/old/serve.py 8001"))
    (units / "fincoll.service.d").mkdir()
    (units / "fincoll.service.d/nice.conf").write_text("[Service]\nNice=5\n")
    (units / "senvec@.service").write_text(TEMPLATE)
    names = " ".join(f"senvec@{name}" for name in SENVEC)
    host.run(["sh", "-c", f"systemctl daemon-reload && systemctl -q enable --now fincoll {names}"])
    by_hand = "cd /opt/old && API_TOKEN=hush COLOUR=green setsid python3 serve.py 8002 </dev/null >/dev/null 2>&1 &"
    host.run(["sh", "-c", by_hand])
    host.run(["sh", "-c", PREPARE_POSTGRESQL])
    if has_pm2():
        install_pm2(host)


def install_pm2(host: Host) -> None:
    package = Path(str(shutil.which("pm2"))).resolve().parents[1]
    shutil.copytree(package.parent, host.root / "opt/pm2/node_modules", symlinks=True)
    shutil.copy(os.path.realpath(str(shutil.which("node"))), host.root / "usr/local/bin/node")
    (host.root / "usr/local/bin/pm2").symlink_to("/opt/pm2/node_modules/pm2/bin/pm2")
    (host.root / "opt/old/pim.js").write_text("require('http').createServer((q, a) => a.end('{}')).listen(5000)")
    start = "runuser -u keeper -- env HOME=/opt/keeper PM2_HOME=/opt/keeper/.pm2 DB_PASSWORD=hush pm2"
    host.run(["sh", "-c", "useradd --home-dir /opt/keeper --create-home keeper"])
    host.run(["sh", "-c", f"cd /opt/old && {start} start pim.js --name pim && {start} save"])


def test_it_is_reported_taken_over_and_given_back(old: Old) -> None:
    before, units = old.tables(), old.sh("cd /etc/systemd/system && find . -newer /opt/old -type f | sort; ls */")
    running = ports_of_old()

    said = old.adopt()
    assert "systemd fincoll.service" in said
    assert "systemd senvec@news.service" in said
    assert "by hand" in said
    assert ("pm2 pim" in said) == has_pm2()
    assert "deployment_history: 4 rows" in said
    assert old.listening() == running
    assert old.tables() == before

    old.adopt("-e", "adopt_step=database", "-e", "adopt_timezone=America/New_York")
    (dump,) = old.sh(f"ls {old.host.share}/backups").split()
    assert "deployment_history" in old.sh(f"pg_restore --list {old.host.share}/backups/{dump}")
    assert old.sh("runuser -u postgres -- psql -Atc 'SELECT * FROM alembic_version' pim_database") == "0001\n"

    assert "end pid" in old.adopt("-e", "adopt_step=services", "--check")
    assert old.listening() == running
    old.adopt("-e", "adopt_step=services")
    assert old.listening() == set()
    assert old.sh("ls /etc/systemd/system").count("fincoll") == 0
    assert old.host.run(["grep", "-r", "hush", "/var/lib/caelum"], check=False).returncode == 1
    assert json.loads(old.sh("cat /var/lib/caelum/adopted/fincoll.json"))["entries"][0]["unit"] == "fincoll.service"
    assert "nothing is left to take over" in old.adopt()

    assert "started again without API_TOKEN" in old.adopt("-e", "adopt_step=return")
    old.until(running)
    assert old.tables() == before
    assert old.sh("cd /etc/systemd/system && find . -newer /opt/old -type f | sort; ls */") == units
    assert (
        old.sh("tr '\\0' '\\n' </proc/$(pgrep -fx 'python3 serve.py 8002')/environ | grep COLOUR") == "COLOUR=green\n"
    )


def test_what_was_stopped_stays_stopped_after_a_reboot(old: Old) -> None:
    """Otherwise the services of old would have the ports before those that were deployed."""
    old.adopt("-e", "adopt_step=services")
    old.machines.reboot(NAME)
    assert old.listening() == set()
    old.adopt("-e", "adopt_step=return")
    # a container's or PM2's daemon is of the old set-up's own making, and so is its start at boot
    old.until(ports_of_old())
