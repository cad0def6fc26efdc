"""What `make` runs, as it would type it, and what the tools behind it promise."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = {
    "deploy VERSION=v1.1.0": "deploy.yml -e 'version=v1.1.0'",
    "abort SERVICE=fincoll": "abort.yml -e 'service=fincoll'",
    "halt REASON=split": "halt.yml -e",
    "resume": "resume.yml",
    "down": "playbooks/stop.yml",
    "topology": "playbooks/topology.yml",
}


def bare(**more: str) -> dict[str, str]:
    """An environment in which no outer make's settings are left."""
    return {"PATH": os.environ["PATH"], **more}


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=bare(**environment), check=False, capture_output=True, text=True, timeout=60
    )


def rendered(*arguments: str, **environment: str) -> str:
    """The commands that make would run."""
    done = make("-n", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def line(output: str, word: str) -> str:
    (found,) = [text for text in output.splitlines() if word in text]
    return found


def test_make_alone_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert [row.split()[0] for row in make().stdout.splitlines()] == phony.group(1).split()


@pytest.mark.parametrize("target", PLAYBOOKS)
def test_every_playbook_gets_the_prefix_that_was_given_and_the_further_arguments(target: str) -> None:
    plain = line(rendered(*target.split(), "ARGS=-e x=1"), "ansible-playbook")
    assert plain.startswith(f".venv/bin/ansible-playbook -i 'inventory/local' {PLAYBOOKS[target]} "), (
        "no prefix of its own"
    )
    assert plain.endswith(" -e x=1")
    for given in (rendered(*target.split(), "PREFIX=/srv/b"), rendered(*target.split(), PREFIX="/srv/b")):
        assert " -e caelum_prefix=/srv/b " in line(given, "ansible-playbook")
    production = line(rendered(*target.split(), "INVENTORY=production"), "ansible-playbook")
    assert " -i 'inventory/production' " in production


@pytest.mark.parametrize("target", PLAYBOOKS)
def test_with_lab_every_playbook_runs_in_the_lab_of_its_inventory_and_without_in_none(target: str) -> None:
    inside = ".venv/bin/python -m tools.lab play 'production' -- -i 'inventory/production' "
    given = line(rendered(*target.split(), "INVENTORY=production", "LAB=1"), "tools.lab")
    assert given.startswith(inside + PLAYBOOKS[target])
    named = line(rendered(*target.split(), "INVENTORY=production", "LAB=1", "LAB_NAME=b"), "tools.lab")
    assert " play 'b' -- " in named
    for plain in ((), ("LAB=",), ("LAB=0",)):
        assert "tools.lab" not in rendered(*target.split(), "INVENTORY=production", *plain)


def test_a_shell_wants_a_host() -> None:
    refused = make("lab-shell", "INVENTORY=production", "--assume-old=venv")
    assert refused.returncode != 0
    assert refused.stdout == "name the host: make lab-shell INVENTORY=production HOST=…; make lab-status lists them\n"


def test_a_reason_reaches_the_playbook_whole() -> None:
    reason = """it's "the split" of AAPL; a & b # c"""
    shown = make("--eval", 'show:; @echo "$$REASON"', "show", f"REASON={reason}")
    assert shown.stdout == f"{reason}\n", shown.stderr
    command = line(rendered("halt", f"REASON={reason}"), "ansible-playbook").replace(".venv/bin/python", sys.executable)
    printing = command.replace(".venv/bin/ansible-playbook", "printf '%s\\n'", 1)
    done = subprocess.run(["bash", "-c", printing], env=bare(REASON=reason), check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"reason": reason}


def test_a_relative_prefix_is_the_folder_that_the_caller_sees() -> None:
    assert f" -e caelum_prefix={ROOT}/second " in rendered("down", "PREFIX=second/")


@pytest.mark.parametrize("prefix", ["/srv/with space", "/srv/it's", "/srv/$$(id)", "/", "/srv/..", "a;b", "", " "])
def test_a_prefix_that_cannot_work_is_refused_in_one_line(prefix: str) -> None:
    refused = make("-n", "down", f"PREFIX={prefix}")
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert re.fullmatch(r"Makefile:\d+: \*\*\* PREFIX=.* give a folder .*\n", refused.stderr)


def test_status_logs_and_training_look_where_the_prefix_says() -> None:
    default = subprocess.check_output([ROOT / "tools/prefix.sh"], text=True).strip()
    for given, folder in (((), default), (("PREFIX=/srv/b",), "/srv/b")):
        assert f"tools/status.py '{folder}'" in rendered("status", *given)
        assert f"tools/logs.sh '{folder}' 'fincoll'" in rendered("logs", "COMPONENT=fincoll", *given)
        assert line(rendered("train", *given), "train_production").startswith(f"CAELUM_PREFIX='{folder}' ")


def test_status_asks_a_fleets_pim_and_what_reads_this_machines_files_says_what_to_type_on_a_host() -> None:
    asked = line(rendered("status", "INVENTORY=production", "ARGS=--ask-vault-pass"), "ansible-playbook")
    assert asked.endswith("-i 'inventory/production' playbooks/status.yml --ask-vault-pass")
    for target, typed in (("logs", "journalctl"), ("memory", "systemctl status"), ("train", "systemctl start finvec-")):
        refused = make(target, "INVENTORY=production", "--assume-old=venv")
        assert refused.returncode != 0
        assert refused.stdout == ""
        assert f"on a host of production type: ssh HOST {typed}" in refused.stderr


@pytest.mark.parametrize("health", ["healthy", "degraded"])
def test_the_status_of_a_fleet_is_what_pim_says_to_the_operators_token(health: str, tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    class Pim(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"status": health}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    given = tmp_path / "given.json"
    with HTTPServer(("127.0.0.1", 0), Pim) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = {"caelum_address": "127.0.0.1", "pim_port": server.server_port, "vault_tokens": {"operator": "a-token"}}
        given.write_text(json.dumps(told))
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [program, "-i", "inventory/production", "playbooks/status.yml", "-e", f"@{given}"],
            cwd=ROOT, env=bare(HOME=str(tmp_path)), check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        server.shutdown()
    assert asked == [("/api/system/health", "Bearer a-token")], done.stdout + done.stderr
    assert f'"status": "{health}"' in done.stdout
    assert (done.returncode == 0) == (health == "healthy"), done.stdout + done.stderr
    assert "a-token" not in done.stdout + done.stderr


def test_clean_removes_a_deployment_by_its_playbook_alone_and_shared_folders_only_when_plain(tmp_path: Path) -> None:
    second = rendered("clean", f"PREFIX={tmp_path}")
    assert "tools/environment.sh .venv " in second, "the playbook needs an environment, also when it is gone"
    assert line(second, "remove.yml").endswith(f"-e caelum_prefix={tmp_path} playbooks/remove.yml ")
    assert "rm -rf" not in second
    assert "rm -rf" not in rendered("clean", "INVENTORY=production")
    assert "rm -rf" not in rendered("clean", "ARGS=-e caelum_prefix=/srv/b")
    plain = line(rendered("clean"), "rm -rf")
    assert {".venv", ".venv-dev", ".cache"} < set(plain.split())
    assert ".caelum" not in plain, "what a deployment holds is for its playbook to stop and remove"


def test_clean_makes_no_environment_where_nothing_is_deployed() -> None:
    assert "environment.sh" not in rendered("clean", "PREFIX=/nonexistent/caelum")


def test_ansible_reads_this_checkouts_settings_however_open_its_folder_is() -> None:
    shown = make("--eval", "show:; @echo $$ANSIBLE_CONFIG", "show", ANSIBLE_CONFIG="/elsewhere")
    assert shown.stdout == f"{ROOT}/ansible.cfg\n"


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "healthy"}')

    def log_message(self, *_: object) -> None:
        pass


def test_status_asks_pim_and_no_proxy(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = tmp_path / "etc/caelum/pim-web@stable.env"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"PIM_PORT={server.server_port}\n")
    try:
        done = subprocess.run(
            [sys.executable, ROOT / "tools/status.py", tmp_path],
            env=bare(http_proxy="http://127.0.0.1:9"), check=False, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the tools alone."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "locks").mkdir()
    return tmp_path


def offline(**more: str) -> dict[str, str]:
    return bare(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PYTHON=sys.executable, **more)


def test_an_environment_stays_until_its_successor_is_whole(checkout: Path) -> None:
    kept = checkout / ".venv/kept"
    kept.parent.mkdir()
    kept.touch()
    (checkout / "lock.txt").write_text(f"nonesuch==1 --hash=sha256:{'0' * 64}\n")
    failed = subprocess.run(
        ["tools/environment.sh", ".venv", "lock.txt"],
        cwd=checkout, env=offline(), check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("could not install lock.txt")
    assert [path.name for path in kept.parent.iterdir()] == ["kept"]


def torch_wheel(folder: Path) -> str:
    """A wheel that says it is torch==9.9+cpu; its sha256."""
    folder.mkdir()
    file = folder / "torch-9.9+cpu-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("torch-9.9+cpu.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9+cpu\n")
        wheel.writestr("torch-9.9+cpu.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("torch-9.9+cpu.dist-info/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def variant(checkout: Path, links: Path) -> str:
    command = ["tools/variant.sh", str(Path(sys.executable).parents[1])]
    environment = offline(PIP_FIND_LINKS=str(links))
    return subprocess.check_output(command, cwd=checkout, env=environment, text=True).strip()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the CPU lock is for Python 3.11")
def test_the_build_of_torch_is_chosen_once_for_a_lock_and_its_wheel_kept(checkout: Path, tmp_path: Path) -> None:
    links, lock = tmp_path / "links", checkout / "locks/finvec-cpu.txt"
    digest = torch_wheel(links)
    lock.write_text(f"rich==1\ntorch==9.9+cpu \\\n    --hash=sha256:{digest}\ntyping==1\n")
    assert variant(checkout, links) == "locks/finvec-cpu.txt"
    assert [path.name for path in (checkout / ".cache/wheels").iterdir()] == ["torch-9.9+cpu-py3-none-any.whl"]
    for folder in (links, checkout / ".cache/wheels"):
        shutil.rmtree(folder)
    assert variant(checkout, links) == "locks/finvec-cpu.txt", "an index that is away must not change the choice"
    torch_wheel(links)
    lock.write_text(lock.read_text().replace(digest, "0" * 64))
    assert variant(checkout, links) == "locks/finvec-cuda.txt", "a wheel that no hash fits is none"
