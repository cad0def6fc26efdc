"""The hosts' common Debian image: made once for a list of packages, kept, and never changed while hosts run on it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tools.lab.errors import LabError
from tools.lab.places import CACHE

# Part of the key: raise it when the steps below change.
RECIPE = 1
SUITE = "bookworm"
PACKAGES = (
    # a machine
    "ca-certificates", "chrony", "dbus", "iproute2", "iputils-ping", "libpam-systemd", "openssh-server", "procps",
    "python3", "sudo", "systemd", "systemd-sysv",
    # what the roles use
    "curl", "git", "nfs-common", "openssl", "postgresql-15", "python3-venv", "ssl-cert",
    # what attacks and fault tests use
    "gdb", "kmod", "netcat-openbsd", "strace",
)  # fmt: skip
# chronyd runs, and can't touch the clock, which is this machine's.
CLOCK = {
    "etc/default/chrony": 'DAEMON_OPTS="-F 1 -x"\n',
    "etc/systemd/system/chrony.service.d/lab.conf": "[Unit]\nConditionCapability=\n",
}
MASKED = (
    # the share is no NFS here, and this needs a kernel module
    "run-rpc_pipefs.mount", "rpcbind.service", "rpcbind.socket",
    # nobody waits for a network that has no way out, nor looks for packages there
    "systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    # a third of the boot, for logical volumes that no host has
    "e2scrub_reap.service", "e2scrub_all.timer",
)  # fmt: skip
BOOT = """[Unit]
Description=Writable cgroup controllers, as a machine of its own has them
DefaultDependencies=no
Before=basic.target
ConditionPathIsDirectory=/sys/fs/cgroup/memory

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for c in /sys/fs/cgroup/*; do [ ! -d "$$c" ] || mount -o remount,bind,rw "$$c"; done'
ExecStart=/bin/systemctl daemon-reexec

[Install]
WantedBy=basic.target
"""


def key() -> str:
    """Name of the image that this recipe makes."""
    text = json.dumps([RECIPE, SUITE, sorted(PACKAGES), sorted(MASKED), BOOT, CLOCK])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ready(say: Callable[[str], None] = print, cache: Path = CACHE) -> Path:
    """The image's folder, made where it is not yet there; LabError where no Debian mirror can be reached."""
    image = cache / key()
    if image.is_dir():
        return image
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.is_dir():
            for left in cache.glob("*.partial"):  # the lock is ours, so whoever made it is gone
                shutil.rmtree(left)
            say("making the image of the lab's hosts, once: about a minute …")
            _make(image.with_suffix(".partial"))
            image.with_suffix(".partial").rename(image)
            _prune(cache, image)
    return image


def _prune(cache: Path, image: Path) -> None:
    """Remove images of earlier recipes that no host runs on."""
    mounted = Path("/proc/self/mountinfo").read_text()
    for folder in cache.iterdir():
        if folder.is_dir() and folder != image and f"lowerdir={folder}," not in mounted:
            shutil.rmtree(folder)


def _make(folder: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(  # noqa: S603 - our own words
        [*command, f"--include={','.join(PACKAGES)}", SUITE, str(folder)],
        check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "Err"))] or ["it said nothing"]
        raise LabError(
            f"could not make the image of the lab's hosts: {said[0].removeprefix('E: ')}; "
            "a Debian mirror must be reachable (apt's own settings apply)"
        )
    try:
        _settle(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LabError(f"could not make the image of the lab's hosts: {error}; free some space below {CACHE}") from None


def _settle(folder: Path) -> None:
    units = folder / "etc/systemd/system"
    (units / "lab-cgroups.service").write_text(BOOT)
    enable(folder, "lab-cgroups.service", "basic.target", "/etc/systemd/system")
    enable(folder, "systemd-networkd.service", "multi-user.target")
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    # every package starts what it brings; only the database's host has PostgreSQL running
    (units / "multi-user.target.wants/postgresql.service").unlink(missing_ok=True)
    for private in (folder / "etc/ssh").glob("ssh_host_*"):
        private.unlink()
    (folder / "etc/machine-id").write_text("")
    for name, text in CLOCK.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def enable(root: Path, unit: str, target: str, origin: str = "/lib/systemd/system") -> None:
    """Let `unit` start with `target` on the machine whose files lie in `root`."""
    wants = root / f"etc/systemd/system/{target}.wants"
    wants.mkdir(parents=True, exist_ok=True)
    link = wants / unit
    link.unlink(missing_ok=True)
    link.symlink_to(f"{origin}/{unit}")
