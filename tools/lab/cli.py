"""`python -m tools.lab up|status|shell|play|health|down|fault NAME …`: what the make targets type."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tools.lab import faults, lab, play, share
from tools.lab.errors import LabError
from tools.lab.host import Host
from tools.lab.places import ROOT

FAULTS: dict[str, Callable[[Host], object]] = {
    "cut": faults.cut,
    "heal": faults.heal,
    "kill": Host.kill,
    "stop": faults.stop,
    "start": faults.start,
    "reboot": faults.reboot,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the words say; what can't be done is one line and code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        return int(COMMANDS[options.command](options))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"`{options.command}` was ended before it was done", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("up", "boot the hosts of an inventory"),
        ("status", "say what is up"),
        ("shell", "a shell on a host, or one command"),
        ("play", "run ansible-playbook in the lab, with what the lab lends"),
        ("health", "print the health of the ecosystem as PIM sees it"),
        ("down", "end the lab and remove all of it"),
        ("fault", "let something go wrong, or put it right again"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("name", help="the lab's name")
        if name == "up":
            command.add_argument("inventory")
        if name == "shell":
            command.add_argument("host")
        if name == "fault":
            command.add_argument("what", choices=[*FAULTS, "hang", "resume"])
            command.add_argument("host", nargs="?", default="")
        if name in ("shell", "play"):
            command.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _up(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a boot that is told to end takes away what it made
    lab.up(options.inventory, options.name)
    return _status(options)


def _status(options: argparse.Namespace) -> int:
    """A row per host, as systemd there sees itself."""
    have = lab.find(options.name)
    with ThreadPoolExecutor(max_workers=16) as pool:
        said = list(pool.map(_condition, have.hosts))
    print(f"lab {options.name}: inventory {have.state.inventory}, {have.state.phase}")
    for host, condition in zip(have.hosts, said, strict=True):
        print(f"  {host.name:<16} {host.address:<16} {condition}")
    if have.state.dashboard:
        print(f"  dashboard        {have.state.dashboard} once PIM is deployed")
    return 0 if have.state.phase == "up" and set(said) == {"running"} else 1


def _condition(host: Host) -> str:
    if not host.up:
        return "off"
    done = host.run(["systemctl", "is-system-running"], check=False, timeout_s=15)
    return done.stdout.strip() or "unreachable"


def _shell(options: argparse.Namespace) -> int:
    host = lab.find(options.name).host(options.host)
    if not host.up:
        raise LabError(f"{host.name} is off; switch it on: python -m tools.lab fault {options.name} start {host.name}")
    command = host.command(options.words)
    if not options.words:
        command = [*command[:-1]]
    os.execvp(command[0], command)  # noqa: S606 - the terminal is the shell's from here on


def _play(options: argparse.Namespace) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    places = lab.find(options.name).places
    failed = play.prepare(places, words)
    if failed is None:
        command = play.inside(places, words)
        os.chdir(ROOT)
        # in this process's own place, so that a signal reaches the playbook, which has its own way to end
        os.execvpe(command[0], command, play.environment(places))  # noqa: S606 - a list of our own
    return failed.returncode


def _health(options: argparse.Namespace) -> int:
    """PIM's own JSON: 0 when everything is healthy, 1 when not, 2 when PIM does not answer."""
    have = lab.find(options.name)
    host = have.host(have.state.pim)
    url = f"http://{host.address}:{have.state.pim_port}/api/system/health"
    # asked by PIM's own host, since it answers those of its inventory alone
    done = host.run(["curl", "-sS", "--fail", "--max-time", "20", url], check=False)
    if done.returncode != 0:
        why = done.stderr.strip() or f"code {done.returncode}"
        print(f"PIM does not answer at {url}: {why}; deploy it with `make deploy … LAB=1`", file=sys.stderr)
        return 2
    health = json.loads(done.stdout)
    print(json.dumps(health, indent=2))
    return 0 if health["status"] == "healthy" else 1


def _down(options: argparse.Namespace) -> int:
    lab.down(options.name)
    return 0


def _fault(options: argparse.Namespace) -> int:
    have = lab.find(options.name)
    if options.what in ("hang", "resume"):
        (share.hang if options.what == "hang" else share.resume)(have.state.processes["share"])
        return 0
    FAULTS[options.what](have.host(options.host))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "status": _status,
    "shell": _shell,
    "play": _play,
    "health": _health,
    "down": _down,
    "fault": _fault,
}
