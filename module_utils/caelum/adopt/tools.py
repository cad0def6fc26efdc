"""The programs of the supervisors that a host may have, each asked in one place: systemctl, docker, pm2."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused

TOOL_S = 60
PM2_PLACES = ("/usr/local/bin", "/usr/bin", "/opt/pm2/bin")


def call(argv: Sequence[str], *, env: Mapping[str, str] | None = None, user: str = "") -> str:
    """What the program prints; Refused with its own last line when it fails. `user` is whom it runs as."""
    try:
        done = subprocess.run(  # noqa: S603 - argv is ours, no shell
            # "/": PM2 starts its daemon in the folder that it is called in, and root's own is closed to its user
            argv, cwd="/", capture_output=True, text=True, timeout=TOOL_S, check=False,
            env=dict(env) if env is not None else None, user=user or None,
            group=pwd.getpwnam(user).pw_gid if user else None, extra_groups=[] if user else None,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{argv[0]} is not on this host, and is needed to {' '.join(argv[1:3])}; install it") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"`{' '.join(argv)}` did not end within {TOOL_S} s; see what it waits for") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise Refused(f"`{' '.join(argv)}` failed: {said}")
    return done.stdout


def unit_properties(unit: str) -> dict[str, str]:
    """What systemd knows of a unit: its files, whether it is enabled, and whether it is active."""
    names = "FragmentPath,DropInPaths,UnitFileState,ActiveState,LoadState"
    lines = call(["systemctl", "show", f"--property={names}", "--", unit]).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def unit_names() -> list[str]:
    """Loaded and installed units of the system, templates left out; none where there is no systemd."""
    if not Path("/run/systemd/system").is_dir():
        return []
    names = {
        line.split()[0]
        for verb in (["list-units", "--all", "--plain"], ["list-unit-files"])
        for line in call(["systemctl", *verb, "--no-legend", "--full", "--type=service,timer"]).splitlines()
        if line.strip()
    }
    return sorted(name for name in names if "@." not in name)


def container_at(port: int) -> str:
    """Name of the container that publishes the port; empty when Docker does not tell."""
    if shutil.which("docker") is None:
        return ""
    try:
        return call(["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]).strip()
    except Refused:
        return ""


def container(name: str) -> dict[str, Any]:
    """Id, name, image and restart policy of a container; none of its variables."""
    fields = (
        '{"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},'
        '"policy":{{json .HostConfig.RestartPolicy.Name}}}'
    )
    found: dict[str, Any] = json.loads(call(["docker", "inspect", "--format", fields, name]))
    return found | {"name": str(found["name"]).removeprefix("/")}


def pm2(home: str, user: str, path: str, *arguments: str) -> str:
    """Run PM2's command as the user whose daemon it is; `path` is the PATH of one of its processes."""
    places = os.pathsep.join([path, *PM2_PLACES])
    program = shutil.which("pm2", path=places)
    if program is None:
        raise Refused(f"the command pm2 of {user} is not in {places}; put a link to it into /usr/local/bin")
    env = {"PM2_HOME": home, "HOME": pwd.getpwnam(user).pw_dir, "PATH": places, "LANG": "C.UTF-8"}
    itself = pwd.getpwuid(os.geteuid()).pw_name == user
    return call([program, *arguments], env=env, user="" if itself else user)
