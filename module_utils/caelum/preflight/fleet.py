"""What a host of a fleet must offer besides: root, systemd, address, share, database, the other hosts. Reads only."""

from __future__ import annotations

import errno
import os
import platform
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..database import reach
from ..errors import Refused
from ..host import credentials
from ..host import share as shares
from ..release import target

PEER = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
}
DATABASE = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "sslmode": {"type": "str", "default": "prefer"},
}
SPEC = {
    "address": {"type": "str", "required": True},
    "share_source": {"type": "str", "default": ""},
    "database": {"type": "dict", "options": DATABASE},
    "peers": {"type": "list", "elements": "dict", "options": PEER, "default": []},
    "abi": {"type": "str"},
    "platform": {"type": "str"},
    "cuda": {"type": "bool", "default": False},
}
KEYS = (
    ".alpha_vantage_credentials.json",
    ".tradestation_token.json",
    ".sentimentrader_credentials.json",
    ".pim_database_credentials.json",
)
"""The specification's credential files on the share."""
PEER_S = 3.0
INODES = 50_000
"""What the releases of all services take, PyTorch's files the most of it, twice over."""
NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/usr/lib/wsl/lib/libcuda.so.1"))


def refuse_unfit(wanted: Mapping[str, Any], share: str | None) -> None:
    """Refused with the first thing that is in the way on this host, for parameters that fit `SPEC`."""
    _root()
    _systemd()
    _address(str(wanted["address"]))
    _python(wanted["abi"], wanted["platform"])
    if wanted["cuda"]:
        _driver()
    if share:
        _share(Path(share), str(wanted["share_source"]))
    _network(wanted)


def refuse_few_inodes(path: Path, variable: str) -> None:
    """Refused when a file system has space for no more files; one that counts none has no limit."""
    system = os.statvfs(path)
    if system.f_files and system.f_favail < INODES:
        raise Refused(
            f"no room for files under {path}: {system.f_favail} inodes are free, a deployment needs {INODES}; "
            f"remove small files there, or set {variable} to another place"
        )


def _root() -> None:
    if os.geteuid() != 0:
        raise Refused(
            "this host was not entered as root, which makes units and users; set ansible_become: true for it, or "
            "ansible_user: root"
        )


def _wsl() -> bool:
    return "microsoft" in platform.release().lower()


def _systemd() -> None:
    first = Path("/proc/1/comm").read_text().strip()
    if first == "systemd":
        return
    remedy = (
        "write `[boot]` and `systemd=true` into /etc/wsl.conf, then `wsl --shutdown` on Windows"
        if _wsl()
        else "boot it with systemd, or choose another host"
    )
    raise Refused(f"process 1 of this host is {first}, and runtime systemd needs systemd there; {remedy}")


def _address(address: str) -> None:
    """Every other host reaches this one by it, and services listen on it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise Refused(f"caelum_address {address} is no address: {error.strerror}; correct the inventory") from None
        remedy = (
            "let WSL share the network of Windows with `networkingMode=mirrored` under [wsl2] in .wslconfig, then "
            "`wsl --shutdown`"
            if _wsl()
            else "correct caelum_address in the inventory, or give this host the address"
        )
        raise Refused(
            f"{address} is not an address of this host, so the other hosts cannot reach it; {remedy}"
        ) from None


def _python(abi: str | None, system: str | None) -> None:
    if not abi:
        return
    have = target.this_python()
    target.check("every service", target.Target(abi, system or have.platform, ""), have)


def _driver() -> None:
    if not any(path.exists() for path in NVIDIA):
        raise Refused(
            "this host has no NVIDIA driver, and finvec_variant is cuda; install the driver, or set finvec_variant to "
            "cpu or auto"
        )


def _share(path: Path, source: str) -> None:
    """What is mounted must answer; what this deployment is to mount must have a server that does."""
    mounted = bool(shares.mounted(path))
    if mounted:
        shares.refuse_silent(path)
    there = mounted or (not source and shares.is_there(path))  # first: a folder above it may be what hangs
    for folder in reversed(path.parents):
        with suppress(FileNotFoundError):
            if not folder.stat().st_mode & 0o001:
                raise Refused(
                    f"the users of the services cannot enter {folder} on the way to the share {path}; "
                    f"allow it with `chmod o+x {folder}`, or set caelum_share to another place"
                )
    if there:
        for name in KEYS:
            credentials.refuse_open(path / name)
        return
    if not source:
        raise Refused(
            f"the share {path} is not there; mount it, make it with `mkdir -p {path}` where this host is alone, or set "
            "caelum_share_source to the export that holds it"
        )
    if not any(Path(folder, "mount.nfs").exists() for folder in ("/sbin", "/usr/sbin")):
        raise Refused(f"the share {source} is NFS and mount.nfs is not on this host; `apt-get install nfs-common`")
    server = source.partition(":/")[0].strip("[]")
    line = _silent(f"the server of the share {source}", server, 2049)
    if line:
        raise Refused(line)


def _network(wanted: Mapping[str, Any]) -> None:
    """All others are asked at once: one that drops packets costs its whole time."""
    database, peers = wanted["database"], list(wanted["peers"])
    with ThreadPoolExecutor(max_workers=len(peers) + 1) as pool:
        asked = []
        if database:
            where = str(database["address"]), int(database["port"])
            asked.append(pool.submit(reach.answers, *where, sslmode=str(database["sslmode"])))
        asked += [pool.submit(_silent, peer["name"], peer["address"], peer["port"]) for peer in peers]
        lines: Iterable[str] = [one.result() for one in asked]
    first = next(filter(None, lines), "")
    if first:
        raise Refused(first)


def _silent(name: str, address: str, port: int) -> str:
    """Why a host cannot be reached; empty where it answers, be it with a refusal: what listens there comes later."""
    try:
        socket.create_connection((address, port), timeout=PEER_S).close()
    except ConnectionRefusedError:
        return ""
    except OSError as error:
        why = f"does not answer within {PEER_S:g} s" if isinstance(error, TimeoutError) else f"({error.strerror})"
        return (
            f"{name} at {address}:{port} cannot be reached from this host: {why}; start it, or open the way there "
            "(route, firewall)"
        )
    return ""
