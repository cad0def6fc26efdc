"""Typed settings of pim-web and pim-worker; the only reader of their environment."""

from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, Field, StringConstraints, TypeAdapter, field_validator

from caelum_common.settings import ServiceSettings

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9.\-]{0,9}$")]
_url = TypeAdapter(AnyHttpUrl)

FINCOLL_URLS = {"stable": "http://127.0.0.1:8001"}
SENVEC_SERVICES = {
    "sentimentrader": "http://127.0.0.1:18001",
    "alphavantage": "http://127.0.0.1:18002",
    "social": "http://127.0.0.1:18003",
    "news": "http://127.0.0.1:18004",
    "aggregator": "http://127.0.0.1:18000",
}


class PimSettings(ServiceSettings):
    """What both processes need to know: where the services are, and how often to ask them.

    Intervals, timeouts and tries are the specification's. Times are in seconds. `caelum_hosts` are the addresses of
    the inventory's hosts, which may ask for the system's health without a token.
    """

    caelum_component: str = "pim-web"
    caelum_inventory: str = "local"
    pim_port: int = Field(default=5000, ge=1, le=65535)

    fincoll_urls: dict[str, str] = FINCOLL_URLS
    senvec_url: str = "http://127.0.0.1:18000"
    senvec_services: dict[str, str] = SENVEC_SERVICES
    finvec_status_dir: Path | None = None
    caelum_hosts: tuple[str, ...] = ()
    watchlist: tuple[Symbol, ...] = ("AAPL", "MSFT", "GOOG", "IBM", "FB")
    watchlist_job: str = "llm1-tech"

    fincoll_interval_s: float = Field(default=60, gt=0)
    fincoll_timeout_s: float = Field(default=5, gt=0)
    fincoll_tries: int = Field(default=3, ge=1)
    senvec_interval_s: float = Field(default=30, gt=0)
    senvec_timeout_s: float = Field(default=3, gt=0)
    senvec_tries: int = Field(default=2, ge=1)
    heartbeat_interval_s: float = Field(default=10, gt=0)
    upkeep_interval_s: float = Field(default=3600, gt=0)
    health_kept_days: int = Field(default=30, ge=1)

    @field_validator("fincoll_urls", "senvec_services")
    @classmethod
    def _addresses(cls, urls: dict[str, str]) -> dict[str, str]:
        return {name: str(_url.validate_python(url)).rstrip("/") for name, url in urls.items()}

    @field_validator("senvec_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return str(_url.validate_python(url)).rstrip("/")

    @field_validator("fincoll_urls")
    @classmethod
    def _has_stable(cls, urls: dict[str, str]) -> dict[str, str]:
        if "stable" not in urls:
            raise ValueError("needs the key `stable`")
        return urls

    @property
    def senvec(self) -> dict[str, str]:
        """SenVec's five by name; the aggregator's address is SENVEC_URL."""
        return {**self.senvec_services, "aggregator": self.senvec_url}

    @property
    def status_dir(self) -> Path | None:
        """Where FinVec's jobs report their progress; None when no share is configured."""
        if self.finvec_status_dir is not None:
            return self.finvec_status_dir
        return self.caelum_share / "finvec" / "status" if self.caelum_share else None


class WorkerSettings(PimSettings):
    """The same, for the process that monitors."""

    caelum_component: str = "pim-worker"
