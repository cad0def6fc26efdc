"""A controller that ends at any step of a deployment: the old release serves, and the history tells the truth."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from support.deploying import Started, deploy, good, newest, rows, version
from support.ecosystem import Ecosystem
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

LEASE_S = 4
SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
STEPS = (
    "Plan what would change",
    "Open the deployment",
    "Write the configuration",
    "Apply the instances",
    "Wait until every instance",
    "Make it what a rollback",
    "Close the deployment",
    "Prune what is older",
)


def all_closed(ecosystem: Ecosystem, since: int) -> bool:
    return "in_progress" not in {row[3] for row in rows(ecosystem, since)}


def serves(ecosystem: Ecosystem, wanted: str) -> bool:
    return version(ecosystem, "fincoll") == wanted


@pytest.mark.parametrize("name", SIGNALS)
def test_a_controller_that_is_cut_off_at_any_step_leaves_the_old_release_and_one_true_row(
    at_v110: Ecosystem, name: str
) -> None:
    good(deploy(at_v110, "v1.2.0", "-e", "service=fincoll"))
    here, there = "v1.2.0", "v1.1.0"
    for step in STEPS:
        since = newest(at_v110)
        with Started(at_v110, there, "-e", "service=fincoll", "-e", f"caelum_lease={LEASE_S}") as run:
            run.wait_for(step)
            run.send(SIGNALS[name])
            output = run.finish(60)
        assert run.status != 0, f"{step}: {output[-2000:]}"
        until(f"{step}: the row is closed", partial(all_closed, at_v110, since))
        told = [row[:4] for row in rows(at_v110, since)]
        assert len(told) <= 1, f"{step}: {told}"
        ended = told[0][3] if told else "none"
        serving = there if ended == "success" else here
        until(f"{step}: {serving} serves", partial(serves, at_v110, serving), 30)
        assert ended in {"none", "aborted", "success"}, f"{step}: {rows(at_v110, since)}"
        if step in STEPS[:4]:
            assert ended != "success", f"{step}: nothing was verified yet"
        # the next run ends clean, in the direction that is left
        good(deploy(at_v110, there, "-e", "service=fincoll"))
        assert version(at_v110, "fincoll") == there
        here, there = there, here
