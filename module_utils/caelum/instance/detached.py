"""Commands that outlive the unit which starts them: systemd ends all of a unit's processes when it restarts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def command(name: str, argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Words that run `argv`, an absolute path and arguments, in a unit `name` of its own and return when it ends.

    As root, with `environment` and no sandbox; its exit code is theirs, its output goes to the journal. A second one
    of the same name is refused while the first runs. Credentials are named by path: the unit has none of its own.
    """
    passed = [f"--setenv={key}={value}" for key, value in sorted(environment.items())]
    options = ["--quiet", "--collect", "--wait", "--service-type=exec", f"--unit={name}", *passed]
    return ["systemd-run", *options, "--", *argv]
