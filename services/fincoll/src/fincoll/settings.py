"""FinColl's settings; see ServiceSettings for how they are read."""

from pathlib import Path

from pydantic import Field

from caelum_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """Keys are the field names in upper case.

    `model_registry` is JSON: job → alias → path of the .onnx on this host, its manifest beside it. An empty
    `senvec_api_url` means that there is no SenVec: predictions then go without sentiment and say so.
    `senvec_stale_s` is how old a last-known vector may be to stand in while SenVec is away; 0 means zeros at once.
    `credentials_dir` is where providers of live data find their keys; the sample needs none.
    """

    caelum_component: str = "fincoll"
    fincoll_port: int = Field(default=8001, ge=1, le=65535)
    senvec_api_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    senvec_timeout_ms: int = Field(default=250, ge=1)
    senvec_stale_s: float = Field(default=0.0, ge=0.0)
    model_registry: dict[str, dict[str, Path]] = Field(default_factory=dict)
    credentials_dir: Path | None = None
