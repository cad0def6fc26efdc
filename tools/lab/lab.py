"""A lab as a whole: boot it, look at it, end it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.lab import cgroups, forwarder, image, keys, limits, network, play, requirements, share, source, variables
from tools.lab import inventory as inventories
from tools.lab import state as states
from tools.lab.errors import LabError
from tools.lab.host import Host
from tools.lab.inventory import Inventory
from tools.lab.places import LABS, Places
from tools.lab.state import State

Say = Callable[[str], None]


@dataclass
class Lab:
    """A lab that is there."""

    places: Places
    state: State

    def host(self, name: str) -> Host:
        """The host `name`; LabError where the lab has none."""
        if name not in self.state.hosts:
            known = ", ".join(sorted(self.state.hosts))
            raise LabError(f"the lab {self.places.name!r} has no host {name!r}; it has {known}")
        return Host(self.places, name, self.state.hosts[name], self.state.share)

    @property
    def hosts(self) -> list[Host]:
        return [self.host(name) for name in self.state.hosts]


def boot(wanted: Inventory, name: str, say: Say = print) -> Lab:
    """Boot `wanted`; LabError where the lab is there, or this machine can't. What fails half way leaves nothing."""
    requirements.require()
    places = Places(name)
    layers = image.ready(say)
    _claim(places)
    state = State(
        inventory=wanted.name, hosts=wanted.hosts, share=wanted.share, image=str(layers), database=wanted.database,
        existing=wanted.existing, pim=wanted.pim, pim_port=wanted.pim_port,
    )  # fmt: skip
    lab = Lab(places, state)
    try:
        with _alone(places):
            state.write(places.state)
            _make(lab, wanted, layers)
    except BaseException:
        down(name, say=lambda _: None)
        raise
    return lab


def _claim(places: Places) -> None:
    LABS.mkdir(parents=True, exist_ok=True)
    LABS.chmod(0o700)
    if not places.folder.exists() and (network.exists(places) or cgroups.hosts(places)):
        raise LabError(
            f"{places.namespace} is there already, and no lab's: not in {LABS}; choose another LAB_NAME, "
            f"or remove it by `ip netns del {places.namespace}`"
        )
    try:
        places.folder.mkdir(mode=0o700)
        limits.widen()
    except FileExistsError:
        have = _phase(places)
        raise LabError(
            f"the lab {places.name!r} is {have} already; end it with `make lab-down LAB_NAME={places.name}`"
        ) from None


def _phase(places: Places) -> str:
    try:
        return "up" if states.read(places).phase == "up" else "there in part"
    except LabError:
        return "there in part"


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """One command at a time changes what is there of a lab."""
    handle = os.open(places.folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make(lab: Lab, wanted: Inventory, layers: Path) -> None:
    places, state = lab.places, lab.state
    network.make(places, state.hosts.values())
    keys.make(places, state.hosts)
    state.processes["share"] = share.make(places)
    state.write(places.state)
    with ThreadPoolExecutor(max_workers=16) as pool:
        try:
            rest = [pool.submit(source.make, places), pool.submit(variables.make, places, wanted)]
            list(pool.map(lambda host: host.prepare(layers, database=host.name in state.database), lab.hosts))
            for host in lab.hosts:
                state.processes[f"host {host.name}"] = host.start()
            if wanted.pim:
                _show(lab)
            state.write(places.state)
            booted = dict(zip(state.hosts, pool.map(Host.wait, lab.hosts), strict=True))
            for done in rest:
                done.result()
        except BaseException:
            for host in lab.hosts:  # else the pool would wait for machines that nobody wants any more
                host.kill()
            raise
    for name, word in booted.items():
        if word != "running":
            failed = lab.host(name).run(["systemctl", "--failed", "--no-legend", "--plain"], check=False).stdout
            raise LabError(f"{name} is {word} after its boot: {failed.strip().partition(chr(10))[0]}")
    state.phase = "up"
    state.write(places.state)


def _show(lab: Lab) -> None:
    """Let PIM's dashboard answer on this machine's loopback."""
    state = lab.state
    process, port = forwarder.make(lab.places, state.hosts[state.pim], state.pim_port)
    state.processes["forwarder"], state.dashboard = process, f"http://127.0.0.1:{port}/"


def up(inventory: str, name: str, say: Say = print) -> Lab:
    """Boot the inventory's hosts, and the database server that it expects to exist already."""
    requirements.require()
    began = time.monotonic()
    wanted = inventories.read(inventory)
    lab = boot(wanted, name, say)
    say(f"{len(lab.state.hosts)} hosts are up after {time.monotonic() - began:.1f} s")
    if wanted.existing:
        try:
            play.prepare_database(lab.places, inventory)
        except BaseException:
            down(name, say=lambda _: None)
            raise
        say(f"PostgreSQL is ready after {time.monotonic() - began:.1f} s")
    return lab


def find(name: str) -> Lab:
    """The lab `name`; LabError where there is none."""
    requirements.require()
    places = Places(name)
    return Lab(places, states.read(places))


def down(name: str, say: Say = print) -> None:
    """End the lab and remove all that it made, however far its start came; without one, say so."""
    requirements.require()
    places = Places(name)
    if not places.folder.is_dir():
        say(f"there is no lab {name!r}: nothing to end")
        return
    with _alone(places):
        if not places.folder.is_dir():
            say(f"the lab {name!r} is gone: somebody else ended it meanwhile")
            return
        state = _record(places)
        if state and "share" in state.processes:
            with contextlib.suppress(LabError):  # a stopped share would keep every process that waits for it
                share.resume(state.processes["share"])
        named = set(state.hosts) if state else set()
        laid = {path.name for path in places.host("").iterdir()} if places.host("").is_dir() else set()
        hosts = [Host(places, host, "", "") for host in sorted(named | laid | cgroups.hosts(places))]
        with ThreadPoolExecutor(max_workers=16) as pool:
            list(pool.map(Host.remove, hosts))
        network.remove(places)
        share.remove(places)
        for process in (state.processes if state else {}).values():
            process.end()
        shutil.rmtree(places.folder)
    limits.restore()
    with contextlib.suppress(OSError):
        LABS.rmdir()
    say(f"the lab {name!r} is gone")


def _record(places: Places) -> State | None:
    try:
        return states.read(places)
    except LabError:
        return None
