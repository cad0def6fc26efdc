"""FinVec's settings: the only reader of the environment in this service."""

from pathlib import Path

from caelum_common.settings import ServiceSettings


class FinvecSettings(ServiceSettings):
    """The common settings and where sentiment comes from (empty: train without it)."""

    caelum_component: str = "finvec-train"
    senvec_api_url: str = ""

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go unless told: the share's folder, or ./checkpoints where no share is set."""
        return self.caelum_share / "checkpoints" if self.caelum_share else Path("checkpoints")

    @property
    def status_folder(self) -> Path | None:
        """Where PIM looks for this host's progress; None without a share."""
        return self.caelum_share / "finvec" / "status" if self.caelum_share else None
