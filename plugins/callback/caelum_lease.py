"""Keeps the lease of what a run has open, and hands it to the reaper when the run is interrupted.

On SIGINT Ansible unwinds without running rescue or always, and on SIGTERM it dies on the spot; its workers lead process
groups of their own and can outlive it. So the handlers here stop the workers first, then let the lease go, say one
line and end the run. They replace those of the task queue manager, which is made before any callback is loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import ansible.module_utils
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

# Ansible bundles the checkout's module_utils into modules, but leaves them out of the controller's own path.
ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "module_utils"))

from ansible.module_utils.caelum import children  # noqa: E402
from ansible.module_utils.caelum.database import controllers  # noqa: E402
from ansible.module_utils.caelum.database.heart import Farewell, Heart, Held  # noqa: E402

DOCUMENTATION = r"""
name: caelum_lease
type: notification
short_description: Prolongs the lease of open deployments, and releases it when the run is interrupted
description:
  - Learns from M(caelum_deployment) what a run opens and closes, and sends a heartbeat for what is open, also during
    long tasks. A lease has time for six.
  - SIGINT, SIGTERM and SIGHUP stop the workers, release the lease, so that C(caelum-reaper) returns to the last good
    release at once, and end the run with one line and the code 128 + signal.
  - A deployment that was aborted or seized by somebody else ends the run at its next task, with code 2. Before each
    task that changes hosts the database is asked, since a machine may have slept; while it is away the run goes on.
options: {}
"""

MODULE: Final = "caelum_deployment"
OTHER_STATES: Final = {"step", "closed", "recorded", "aborted", "last", "history"}
CHANGING: Final = {"caelum_instance", "caelum_revision"}
"""What changes hosts of a deployment that is open."""
ASK_S: Final = 5.0
STOP_S: Final = 2.0  # for the workers to tidy up, before they are killed
RELEASE_S: Final = 4.0
UNWIND_S: Final = 5  # for Ansible to remove its temporary files; a dead worker may have left its queue locked
LOST: Final = 2
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CallbackModule(CallbackBase):  # type: ignore[misc] # ansible-core ships no types
    """The callback that ansible.cfg names in `callbacks_enabled`."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "caelum_lease"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._heart = Heart()
        self._pid = 0
        self._controller: dict[str, Any] = {}
        self._opening: dict[tuple[str, str], dict[str, Any]] = {}  # logins of openings under way, by host and task
        self._left = False  # the leases were let go of
        self._ending = False
        self._code: int | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Take the signals over, once; a signal that is ignored, as under nohup, stays so."""
        if self._pid:
            return
        self._pid = os.getpid()
        self._controller = controllers.identity(self._pid)
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._interrupted)
        atexit.register(self._leave_at_exit)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """The play is what knows variables."""
        self._play = play

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A run whose deployment is no longer its own goes no further."""
        self._opening.clear()
        if str(task.action).rpartition(".")[2] in CHANGING:
            # A machine that slept does not know it, and the reaper has fenced its own host alone meanwhile. What a host
            # was asked to do before the sleep it still does.
            self._heart.beat_now(ASK_S)
        if lost := self._heart.lost():
            self._leave("it was lost")
            line = f"failed: {'; '.join(lost)}; so this run ends here, and changes nothing more"
            self._end(line, LOST)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """As for other tasks."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """An opening is about to be sent to a worker; its outcome may never come back, so its login is kept now."""
        if _is_ours(task) and task.args.get("state") not in OTHER_STATES:
            self._heart.begin()
            self._opening[host.get_name(), task._uuid] = self._login(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Learn what was opened or closed."""
        if _is_ours(result.task):
            self._learn(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Of a loop that failed, some items may have opened something."""
        if _is_ours(result.task):
            self._learn(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """A run that failed between opening and closing leaves the rest to the reaper."""
        if self._heart.held and (line := self._leave("the run ended without closing it")):
            _say(f"left open: {line}")

    def _learn(self, result: Any) -> None:
        login = self._opening.pop((result.host.get_name(), result.task._uuid), None)
        for one in _items(result.result):
            told = one.get("invocation", {}).get("module_args", {})
            if login and "lease" in one and "fencing_token" in one:
                what = f"{told.get('service', '')} {told.get('version', '')}".strip()
                self._heart.hold(Held(one["fencing_token"], tuple(one["ids"]), one["lease"], what, login))
            elif told.get("state") == "closed" and not one.get("failed"):
                self._heart.forget(one["ids"])

    def _login(self, host: Any, task: Any) -> dict[str, Any]:
        """The option `database` of the task, as its module is going to get it."""
        manager = self._play.get_variable_manager()
        variables = manager.get_vars(play=self._play, host=host, task=task)
        told = Templar(loader=self._play.get_loader(), variables=variables).template(task.args["database"])
        words = {key: str(told[key]) for key in ("host", "user", "password")}
        return {**words, "port": int(told.get("port", 15433)), "dbname": str(told.get("dbname", "pim_database"))}

    def _interrupted(self, signum: int, _frame: object) -> None:
        """The handler; only the main thread of the main process gets here beyond its first line."""
        if os.getpid() != self._pid:  # a worker, forked and not yet on its own feet
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        code = 128 + signum
        if self._ending:
            if self._left:
                os._exit(code)
            return  # impatience must not cost the release of the lease
        self._ending = True
        gone = children.stop(STOP_S)
        line = self._leave(f"interrupted by {signal.Signals(signum).name}")
        if not gone:
            line += "; a process of this run could not be stopped"
        self._end(f"interrupted: {line or 'no deployment was open; run the same command again'}", code)

    def _leave(self, reason: str) -> str:
        """Let go of the leases; the words that tell what becomes of the deployments, none when there was none."""
        logins = list(self._opening.values())
        held = self._heart.held
        farewell = self._heart.farewell(logins, self._controller, reason, RELEASE_S)
        self._left = True
        return _fate(held, farewell, opening=bool(logins))

    def _leave_at_exit(self) -> None:
        """Where an error of Ansible's own ends the run, no callback hears of it."""
        if os.getpid() != self._pid:
            return
        if self._code is not None:
            # In the moment of a fork Python drops what a handler raises, and Ansible ends with a code of its own.
            sys.stdout.flush()
            os._exit(self._code)
        if self._heart.held and not self._ending:
            _say(f"left open: {self._leave('the run broke off')}")

    def _end(self, line: str, code: int) -> NoReturn:
        """Say the line and end the process, by itself or, if that takes too long, at once."""
        _say(line)
        self._code = code
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
        signal.alarm(UNWIND_S)
        raise SystemExit(code)


def _is_ours(task: Any) -> bool:
    return str(task.action).rpartition(".")[2] == MODULE


def _items(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The results of a loop, or the one that there is."""
    items: Sequence[Mapping[str, Any]] = result.get("results", [result])
    return items


def _fate(held: tuple[Held, ...], farewell: Farewell, *, opening: bool) -> str:
    """What becomes of the deployments that were held; nothing when none was open."""
    named = " and ".join(
        f"deployment{'s' if len(one.ids) > 1 else ''} {', '.join(map(str, one.ids))} of {one.what}" for one in held
    )
    if not named and (opening or farewell.released):
        named = "the deployment that was being opened"
    if not named or not (farewell.released or farewell.failure or held):
        return ""
    if farewell.failure:
        lease_s = max((one.lease_s for one in held), default=30)
        when = f"once the lease of {lease_s} s is over ({farewell.failure})"
        return f"{named} is left to caelum-reaper, which returns to the last good release {when}"
    if not farewell.released:
        return f"{named} is closed already; see `ansible-playbook playbooks/history.yml`"
    return f"{named} is left to caelum-reaper, which returns to the last good release; run the same command again then"


def _say(line: str) -> None:
    """Write the line where errors go, around Ansible's display: the interrupted code may hold its lock."""
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # RuntimeError: stdout was interrupted in a flush
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{' '.join(line.split())}\n".encode())
