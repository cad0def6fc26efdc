"""Output of a run that a tired person can read; with -v Ansible's own default output."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = r"""
name: caelum
type: stdout
short_description: What changed, where and how long it took; on failure the line that matters last
description:
  - Names each play, each task that changed something or failed, and its seconds. Tasks that found everything right
    are counted, and the slow ones named.
  - Ends with the recap, the table of M(caelum_report), and after a failure with its message. Commands that these name
    are completed by the run's C(-i), unless it went to the inventory of F(ansible.cfg).
  - With C(-v) it is the default output.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

SLOW_S = 5.0


class CallbackModule(Default):  # type: ignore[misc] # ansible-core ships no types
    """The callback that ansible.cfg names as `stdout_callback`."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "caelum"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._task_began = time.monotonic()
        self._failures: list[str] = []
        self._meant: dict[str, str] = {}  # a module's frame around a failure, and the line that it stood for
        self._heading = ""
        self._away: list[str] = []
        self._table: list[str] = []
        self._check = False

    @property
    def _wordy(self) -> bool:
        return bool(self._display.verbosity)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """The play's name is a heading, once it has a task on some host."""
        if self._wordy:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        self._check = bool(play.check_mode)
        self._heading = play.get_name().strip()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play about nothing that is to change says nothing."""
        if self._wordy:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Only the clock: a task is named when there is something to say about it."""
        self._task_began = time.monotonic()
        if self._heading:
            self._display.display(self._heading, color=constants.COLOR_HIGHLIGHT)
            self._heading = ""
        if self._wordy:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """As for other tasks."""
        self._task_began = time.monotonic()
        if self._wordy:
            super().v2_playbook_on_handler_task_start(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """A change is named; of the rest, what took long."""
        if "caelum_report" in result._result:
            self._table += result._result["caelum_report"]
        if self._wordy:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings(result._result)
        if result._result.get("changed"):
            self._say("would change" if self._check else "changed", result, constants.COLOR_CHANGED)
        elif self._seconds() >= SLOW_S:
            self._say("ok", result, constants.COLOR_OK)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A failure is named where it happens, and its message kept for the end."""
        if not ignore_errors and "results" not in result._result:  # a loop's failed items have spoken already
            self._failures.append(self._message(result))
        if self._wordy:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._handle_warnings(result._result)
        self._say("FAILED", result, constants.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host that is away counts as a failure, and is named together with others that are."""
        self._away.append(result._host.get_name())
        self._failures.append(self._away_line(result))
        if self._wordy:
            super().v2_runner_on_unreachable(result)
            return
        self._say("UNREACHABLE", result, constants.COLOR_UNREACHABLE)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Nothing to say."""
        if self._wordy:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """The task as a whole is named."""
        if self._wordy:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """The task as a whole is named, an item's message kept."""
        self._failures.append(self._message(result))
        if self._wordy:
            super().v2_runner_item_on_failed(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Nothing to say."""
        if self._wordy:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Nothing to say."""
        if self._wordy:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Recap, table, and after a failure its message as the last line."""
        if self._wordy:
            super().v2_playbook_on_stats(stats)
        else:
            self._recap(stats)
        for line in self._table:
            self._display.display(_here(line))
        if self._failures and (stats.failures or stats.dark):
            self._display.display(f"failed: {_here(self._failures[-1])}", color=constants.COLOR_ERROR)

    def _away_line(self, result: Any) -> str:
        hosts = list(dict.fromkeys(self._away))
        said = _one_line(result._result.get("msg") or "no answer").removeprefix("Task failed: ")
        without = ":".join(f"!{host}" for host in hosts)
        return (
            f"{', '.join(hosts)} cannot be reached ({said}); bring it back, or go without it with `--limit '{without}'`"
        )

    def _recap(self, stats: Any) -> None:
        self._display.display("")
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            words = " ".join(f"{word}={counts[key]}" for word, key in (
                ("ok", "ok"), ("changed", "changed"), ("unreachable", "unreachable"), ("failed", "failures"),
                ("rescued", "rescued"),
            ))  # fmt: skip
            mode = " (check mode: nothing was changed)" if self._check else ""
            self._display.display(f"{host}: {words} in {time.monotonic() - self._began:.1f} s{mode}")

    def _say(self, word: str, result: Any, color: str) -> None:
        hosts = self._play.get_variable_manager()._inventory.get_hosts() if hasattr(self, "_play") else []
        where = f" on {result._host.get_name()}" if len(hosts) > 1 else ""
        name = result._task.get_name().rpartition(" : ")[2].strip()
        self._display.display(f"  {word}: {name}{where} ({self._seconds():.1f} s)", color=color)

    def _seconds(self) -> float:
        return time.monotonic() - self._task_began

    def _message(self, result: Any) -> str:
        """One line: the module's own message, without Ansible's frame around it.

        A rescue that fails with the words of the failure it handles means that failure, so it gets the same line.
        """
        found = result._result
        text = _one_line(found.get("msg") or found.get("stderr") or f"{result._task.get_name()} failed")
        line = _argument_errors(found) or _last_words(found)
        if line:
            self._meant[text] = line
            return line
        return text if "rc" in found else self._meant.get(text, text)


def _here(line: str) -> str:
    """A line whose commands name the inventory of this run, where that is another than they go to by themselves."""
    given = [str(one) for one in context.CLIARGS.get("inventory") or ()]
    if not given or given == [str(one) for one in constants.DEFAULT_HOST_LIST]:
        return line
    words = " ".join(f"-i {shlex.quote(one.removeprefix(f'{Path.cwd()}/'))}" for one in given)
    return re.sub(r"\bansible-playbook (?!-i )(?=\S+\.yml)", f"ansible-playbook {words} ", line)


def _argument_errors(found: dict[str, Any]) -> str:
    """What a role's argument specification refuses, each error as it came."""
    return _one_line("; ".join(map(str, found.get("argument_errors") or ())))


def _last_words(found: dict[str, Any]) -> str:
    """The last line that a failed program said, behind its name; empty when the task ran none or it was silent."""
    cmd = found.get("cmd") or ()
    words = cmd.split() if isinstance(cmd, str) else [str(word) for word in cmd]
    said = [line for key in ("stdout", "stderr") for line in str(found.get(key) or "").splitlines() if line.strip()]
    if found.get("rc") is None or not words or not said:
        return ""
    return _one_line(f"{Path(words[0]).name}: {said[-1]}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
