"""What a timer starts: `python -m finvec.scheduled --job llm1-tech` trains the job if there is something new to learn.

Several hosts may have the timer of a job. The first whose GPU is free trains, the others say so and leave with 0; one
whose GPUs are all taken steps aside with code 75 (EX_TEMPFAIL), and the timer's next time is its next try.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from caelum_common import jobs, sessions, vector
from caelum_common.checkpoint import paths
from caelum_common.jobs import Job
from caelum_common.market import market
from caelum_common.start import CannotStart
from finvec import cli, gpu
from finvec.claim import STALE_S, Claim
from finvec.errors import ClaimLost
from finvec.order import Order
from finvec.progress import Reporter
from finvec.settings import FinvecSettings
from finvec.train import train
from finvec.versions import newest_manifest, next_version, staging

NEW_YORK = ZoneInfo("America/New_York")
# The longest that the exchange is closed: five days since 1933.
CLOSED_AT_MOST = timedelta(days=10)


def main(arguments: Sequence[str]) -> int:
    """Trains, or says why not; the exit code is 0 when nothing is left to do here."""
    return cli.guarded(lambda: scheduled(arguments))


def scheduled(arguments: Sequence[str]) -> None:
    """Raises Busy, ClaimLost and all that `train` does."""
    parser = cli.Parser(prog="finvec.scheduled", description="Train a job, once over all hosts that may.")
    parser.add_argument("--job", required=True, help="long or short name: " + ", ".join(job.name for job in jobs.JOBS))
    options: argparse.Namespace = parser.parse_args(arguments)
    settings = FinvecSettings()
    job = jobs.resolve(options.job)
    if settings.caelum_share is None:
        raise CannotStart("CAELUM_SHARE is not set, and the hosts agree there on who trains; deploy again")
    if why := nothing_new(settings, job, datetime.now(UTC)):
        _say(job, why)
        return
    with gpu.lock(settings.locks / f"{job.name}.lock") as alone:
        if not alone:
            _say(job, "this host trains it already; nothing to do")
            return
        with gpu.device(settings.locks) as mine:
            _prefer_gpus(mine, job, settings.finvec_cpu_wait_s)
            _train_alone(settings, job)


def nothing_new(settings: FinvecSettings, job: Job, now: datetime) -> str:
    """Why there is nothing to learn: the newest model already knows the last session. Empty when there is.

    A model that only fills the place of a first one counts for nothing.
    """
    last = last_session(settings.caelum_data, now)
    known = newest_manifest(settings.checkpoints, job.name)
    if known is None or known.schema_hash != vector.schema().hash or date.fromisoformat(known.data.last) < last:
        return ""
    today = now.astimezone(NEW_YORK).date()
    closed = settings.caelum_data != "sample" and not sessions.closes(today, today)
    holiday = f"; the exchange is closed on {today}" if closed else ""
    return f"nothing new: {known.version} was trained up to {known.data.last}, the last session{holiday}"


def last_session(data: str, now: datetime) -> date:
    """The newest session that has closed; a sample's clock is its own last one. Raises CannotStart."""
    if data == "sample":
        return market(data).last_session
    days = sessions.closes((now - CLOSED_AT_MOST).date(), now.date())
    closed = [day for day, close in days.items() if close <= now]
    if not closed:
        raise CannotStart(f"the table of sessions has none before {now:%Y-%m-%d}; deploy a newer release")
    return closed[-1]


def _prefer_gpus(mine: gpu.Gpu | None, job: Job, wait_s: float) -> None:
    """Shows torch the one GPU that is ours; a host that has none lets those that have one go first."""
    if mine:
        os.environ["CUDA_VISIBLE_DEVICES"] = mine.uuid
        return
    _say(job, f"no GPU here: it would train on the CPU; hosts with a GPU have {wait_s:g} s to take it")
    time.sleep(wait_s)


def _train_alone(settings: FinvecSettings, job: Job) -> None:
    assert settings.caelum_share is not None  # noqa: S101 - `scheduled` has looked
    claim = Claim(settings.caelum_share / "finvec" / "claims", job.name, settings.host)
    if holder := claim.take():
        _say(job, f"{holder.host} trains it since {holder.since}; nothing to do here")
        return
    claim.keep()
    try:
        if why := nothing_new(settings, job, datetime.now(UTC)):
            _say(job, why)
            return
        _clear(settings.checkpoints, job)
        _train(settings, job)
    except SystemExit:
        if claim.lost:
            remedy = f"a claim is taken over after {STALE_S / 60:.0f} min without a sign of life: see the share"
            raise ClaimLost(f"{claim.lost.host} took {job.name} over; {remedy}") from None
        raise
    finally:
        claim.release()


def _train(settings: FinvecSettings, job: Job) -> None:
    chosen, why = cli.preset(None)
    version = next_version(settings.checkpoints, job.name)
    order = Order(
        job=job,
        preset=chosen,
        out=settings.checkpoints,
        version=version,
        data=settings.caelum_data,
        senvec=settings.senvec_api_url,
        resume="may",
    )
    with Reporter(job.name, status=cli.status(None, settings)) as reporter:
        reporter.say(f"training {version} with preset {chosen.name} ({why}) into {order.out} on {settings.host}")
        result = train(order, reporter)
        reporter.say(f"{paths(order.out, job.name, version).manifest} is no champion yet: register it, see README")
    print(json.dumps(result))


def _clear(folder: Path, job: Job) -> None:
    """Removes what a training of this job that was killed left in the folder; the claim says that none runs."""
    for left in folder.glob(f"{staging(job.name)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _say(job: Job, line: str) -> None:
    print(f"finvec {job.name}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
