"""What is asked of one training, once the command line, the settings and the machine have had their say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caelum_common.jobs import Job
from finvec.presets import Preset

Resume = Literal["no", "may", "must"]


@dataclass(frozen=True)
class Order:
    """One training: `out` receives the checkpoint, `senvec` is SenVec's URL or empty, `data` names the market.

    `resume`: go on from the state of an unfinished training if it `may` be, or `must` be there.
    """

    job: Job
    preset: Preset
    out: Path
    version: str
    data: str = "sample"
    senvec: str = ""
    bootstrap: bool = False
    resume: Resume = "no"
