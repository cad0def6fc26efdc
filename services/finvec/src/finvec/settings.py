"""FinVec's settings: the only reader of the environment in this service."""

import socket
from pathlib import Path

from pydantic import Field

from caelum_common.settings import ServiceSettings


class FinvecSettings(ServiceSettings):
    """The common settings, where sentiment comes from (empty: train without it), and this host's address.

    A host without a GPU waits `finvec_cpu_wait_s` before it takes a scheduled job, so that one with a GPU is first.
    """

    caelum_component: str = "finvec-train"
    caelum_address: str = ""
    senvec_api_url: str = ""
    finvec_cpu_wait_s: float = Field(default=20.0, ge=0)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go unless told: the share's folder, or ./checkpoints where no share is set."""
        return self.caelum_share / "checkpoints" if self.caelum_share else Path("checkpoints")

    @property
    def status_folder(self) -> Path | None:
        """Where PIM looks for this host's progress; None without a share."""
        return self.caelum_share / "finvec" / "status" if self.caelum_share else None

    @property
    def host(self) -> str:
        """How this host is called in reports and claims: its address, or by hand its name."""
        return self.caelum_address or socket.gethostname()

    @property
    def locks(self) -> Path:
        """Where this host's jobs agree on its GPUs; never the share."""
        return (self.caelum_state_dir or Path("/tmp")) / "gpu"  # noqa: S108 - by hand only, and it holds nothing
