"""The command line of FinVec: from arguments and settings to an order, and from an error to one line and a code."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from caelum_common import checkpoint, jobs
from caelum_common.jobs import Job, UnknownJob
from caelum_common.start import CannotStart
from finvec.errors import NoData, Refusal, Usage
from finvec.order import Order
from finvec.presets import LOCAL, PRESETS, PRODUCTION, Preset
from finvec.progress import Reporter
from finvec.settings import FinvecSettings
from finvec.versions import check_free, next_version


class Parser(argparse.ArgumentParser):
    """argparse, with its errors on one line."""

    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message}; see --help")


def run(train: Callable[[Order, Reporter], dict[str, Any]], arguments: Sequence[str]) -> int:
    """Trains what the arguments ask for and prints the result; returns the exit code, after one line if not 0."""

    def work() -> None:
        options = _parser().parse_args(arguments)
        settings = FinvecSettings()
        job = jobs.resolve(options.job)
        order, remark = _order(options, settings, job)
        with Reporter(job.name, options.progress, status(options.status_dir, settings)) as reporter:
            reporter.say(remark)
            result = train(order, reporter)
        print(json.dumps(result))

    return guarded(work)


def guarded(work: Callable[[], None]) -> int:
    """Does the work; the exit code, after one line where it isn't 0. SIGTERM leaves through every `finally`."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
    except Refusal as error:
        return _fail(error, error.code)
    except UnknownJob as error:
        return _fail(error, Usage.code)
    except CannotStart as error:
        return _fail(error, NoData.code)
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror}; make room or choose another --out", Refusal.code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def status(folder: Path | None, settings: FinvecSettings) -> Path | None:
    """The file in which PIM finds this host's progress; None without a share or a folder."""
    folder = folder or settings.status_folder
    return folder / f"{settings.host}.json" if folder else None


def _fail(error: Exception | str, code: int) -> int:
    print(f"finvec: {error}", file=sys.stderr)
    return code


def _stop(signum: int, _frame: FrameType | None) -> NoReturn:
    """Leaves through every `finally`, so that the status says idle."""
    raise SystemExit(128 + signum)


def _parser() -> Parser:
    parser = Parser(prog="finvec.train", description="Train a job's model and write its checkpoint.")
    parser.add_argument("--job", required=True, help="long or short name: " + ", ".join(job.name for job in jobs.JOBS))
    parser.add_argument("--preset", choices=sorted(PRESETS), help="default: production with a CUDA GPU, else local")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint; default: the share's, or ./checkpoints")
    parser.add_argument("--version", help="default: the next minor version above those in the folder")
    parser.add_argument("--bootstrap", action="store_true", help="mark the model as a first one that passed no gate")
    parser.add_argument("--senvec", help="SenVec's URL; default: SENVEC_API_URL")
    parser.add_argument("--resume", action="store_true", help="go on from the saved state of an unfinished training")
    parser.add_argument("--progress", type=Path, help="file that progress lines are appended to")
    parser.add_argument("--status-dir", type=Path, help="folder for <host>.json; default: the share's")
    return parser


def _order(options: argparse.Namespace, settings: FinvecSettings, job: Job) -> tuple[Order, str]:
    """The order, and a line that says which preset was chosen and why. Raises Usage, VersionTaken."""
    out: Path = options.out or settings.checkpoints
    version: str = options.version or next_version(out, job.name)
    if not checkpoint.VERSION.fullmatch(version):
        raise Usage(f"version {version!r} is not of the form v1.2.3")
    check_free(checkpoint.paths(out, job.name, version))
    chosen, why = preset(options.preset)
    order = Order(
        job=job,
        preset=chosen,
        out=out,
        version=version,
        data=settings.caelum_data,
        senvec=settings.senvec_api_url if options.senvec is None else options.senvec,
        bootstrap=options.bootstrap,
        resume="must" if options.resume else "no",
    )
    return order, f"training {version} with preset {chosen.name} ({why}) into {out}"


def preset(name: str | None) -> tuple[Preset, str]:
    """The preset asked for, or the one that fits this machine, and why."""
    if name:
        return PRESETS[name], "as asked"
    import torch

    return (PRODUCTION, "a CUDA GPU is here") if torch.cuda.is_available() else (LOCAL, "no CUDA GPU here")
