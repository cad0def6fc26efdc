"""SenVec's settings; the only reader of its environment."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from caelum_common.settings import ServiceSettings

Component = Literal["aggregator", "sentimentrader", "alphavantage", "social", "news"]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]

PORTS: dict[str, int] = {
    "aggregator": 18000,
    "sentimentrader": 18001,
    "alphavantage": 18002,
    "social": 18003,
    "news": 18004,
}


def _loopback() -> dict[str, str]:
    return {name: f"http://127.0.0.1:{port}" for name, port in PORTS.items() if name != "aggregator"}


class SenvecSettings(ServiceSettings):
    """One of the five processes; `SENVEC_COMPONENT` says which."""

    caelum_component: str = "aggregator"
    senvec_component: Component = "aggregator"
    senvec_port: int = Field(default=0, ge=0, le=65535, description="0: the component's own port")
    senvec_upstreams: dict[str, Url] = Field(default_factory=_loopback)
    senvec_timeout_ms: int = Field(default=2000, gt=0)
    senvec_news_feeds: list[Url] = Field(default_factory=list)
    senvec_news_interval_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _name_component_once(cls, values: dict[str, Any]) -> dict[str, Any]:
        if name := values.get("senvec_component"):
            return {"caelum_component": name, **values}
        if name := values.get("caelum_component"):
            return {"senvec_component": name, **values}
        return values

    @model_validator(mode="after")
    def _upstreams_are_the_four(self) -> "SenvecSettings":
        if set(self.senvec_upstreams) != set(_loopback()):
            raise ValueError(f"SENVEC_UPSTREAMS must name {', '.join(_loopback())}")
        return self

    @property
    def port(self) -> int:
        """The port to listen on."""
        return self.senvec_port or PORTS[self.senvec_component]
