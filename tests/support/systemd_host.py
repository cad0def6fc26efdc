"""A host of a lab with two tiny services under the runtime `systemd`, applied by the project's own code over there."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.lab.host import Host

from support.ansible_path import ROOT
from support.lab import Machines, machines

NAME, ADDRESS = "one", "10.32.3.27"
PACKAGE = "/root/applied"
USERS = ("caelum-tiny", "caelum-other")
STARTED = f"""
import json, sys
sys.path.insert(0, "{PACKAGE}")
from pathlib import Path
from caelum.errors import Refused
from caelum.instance import host
from caelum.instance.arguments import INSTANCE, RUNTIMES, SPEC
from caelum.instance.layout import Layout
from caelum.instance.request import run

asked = json.load(sys.stdin)
check = asked.pop("check", False)
defaults = {{name: option.get("default") for name, option in SPEC.items()}}
params = defaults | {{"prefix": "/", "runtime": "systemd"}} | asked
defaults = {{name: option.get("default") for name, option in INSTANCE.items()}}
params["instances"] = [defaults | item for item in params["instances"]]
layout = Layout(Path("/"))
runtime = RUNTIMES["systemd"](layout)
try:
    outcome = run(params, layout, runtime, check=check)
    rows = host.report(outcome.plan, outcome.state, runtime, outcome.releases)
    print(json.dumps({{"steps": outcome.plan.steps(), "instances": {{row["name"]: row for row in rows}}}}))
except Refused as refused:
    print(json.dumps({{"refused": str(refused)}}))
"""
SERVICE = """
import http.server, os, signal, threading
from caelum_common.start import CannotStart, bind, starting

settings = dict(line.rstrip().split("=", 1) for line in open(os.environ["CAELUM_ENV_FILE"]) if "=" in line)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["CAELUM_RELEASE"].rpartition("/")[2] + "\\n").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

with starting():
    if "REFUSAL" in settings:
        raise CannotStart("no champion; register one")
    listener = bind("127.0.0.1", int(settings["PORT"]), "tiny_port")
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = listener
server.socket.listen(64)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


class SystemdHost:
    """The host: `apply` is one call of the module's code there, `run` any command."""

    def __init__(self, lab: Machines) -> None:
        self.lab = lab
        self.host: Host = lab[NAME]

    def run(self, argv: Sequence[str], given: str | None = None, *, check: bool = True) -> str:
        """What `argv` prints on the host."""
        return self.host.run(argv, given=given, check=check).stdout

    def apply(self, *instances: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """What the module's code answers when the host is to have `instances`."""
        asked = {"services": ["other", "tiny"], "instances": list(instances), **options}
        return dict(json.loads(self.run(["python3", "-c", STARTED], json.dumps(asked))))

    def is_active(self, *units: str) -> list[str]:
        """systemd's word for each unit."""
        return self.run(["systemctl", "is-active", *units], check=False).split()

    def ask(self, port: int, *, seconds: float = 10) -> str:
        """What answers on a port, "" when nothing does for `seconds`."""
        end = time.monotonic() + seconds
        while True:
            said = self.run(["curl", "-s", "-m", "5", f"http://127.0.0.1:{port}/"], check=False).strip()
            if said or time.monotonic() > end:
                return said
            time.sleep(0.2)


def instance(name: str = "tiny@stable", port: int = 8091, **more: Any) -> dict[str, Any]:
    """A tiny service as a role would list it."""
    service = name.partition("@")[0]
    settings = {"PORT": port, **more.pop("settings", {})}
    return {
        "name": name, "service": service, "release": "v1.0.0", "command": ["{python}", "{release}/service.py"],
        "environment": settings, "port": port, "user": f"caelum-{service}", "group": f"{service}.service",
        "credentials": {"token": f"secret of {service}"}, "memory_max": "128M", **more,
    }  # fmt: skip


def job(**more: Any) -> dict[str, Any]:
    """A job with a timer."""
    timer = {"calendar": "Mon..Fri 18:00 America/New_York", "randomized_delay": "5min", "runtime_max": "6h"}
    return {
        "name": "tiny@nightly", "service": "tiny", "release": "v1.0.0", "kind": "job", "user": "caelum-tiny",
        "command": ["/bin/sleep", "60"], "timer": timer, **more,
    }  # fmt: skip


@contextmanager
def systemd_host(name: str) -> Iterator[SystemdHost]:
    """A booted host with releases v1.0.0 and v1.1.0 of both services, and nothing that runs."""
    with machines(name, {NAME: ADDRESS}) as lab:
        have = SystemdHost(lab)
        for user in USERS:
            have.run(["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", user])
        _unpack(have.host.root / PACKAGE.removeprefix("/"), {"caelum": ROOT / "module_utils/caelum"})
        start = ROOT / "services/common/src/caelum_common/start.py"
        for service in ("tiny", "other"):
            for version in ("v1.0.0", "v1.1.0"):
                folder = have.host.root / "opt/caelum" / service / "releases" / version
                (folder / "bin").mkdir(parents=True)
                (folder / "bin/python").symlink_to("/usr/bin/python3")
                (folder / "service.py").write_text(SERVICE)
                (folder / "caelum_common").mkdir()
                (folder / "caelum_common/start.py").write_text(start.read_text())
                (folder / "manifest.json").write_text(json.dumps({"service": service, "version": version}))
        yield have


def _unpack(folder: Path, packages: Mapping[str, Path]) -> None:
    """Copy packages to a host, without what this machine's Python made of them."""
    folder.mkdir(parents=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, path in packages.items():
            tar.add(path, name, filter=lambda member: None if "__pycache__" in member.name else member)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        tar.extractall(folder, filter="data")
