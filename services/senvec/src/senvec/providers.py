"""Where texts come from: what a provider is, and which ones a component has."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from senvec.observations import Observation
from senvec.settings import SenvecSettings

if TYPE_CHECKING:
    import httpx


class ProviderError(Exception):
    """A provider didn't give what it should: one line with what, where and why."""


class Provider(Protocol):
    """A source of observations, asked again and again in the background."""

    name: str

    async def fetch(self, client: "httpx.AsyncClient") -> Sequence[Observation]:
        """What the provider has now; observations known from before may be among them. Raises ProviderError."""
        ...


def _news(settings: SenvecSettings, symbols: Sequence[str]) -> list[Provider]:
    from senvec.rss import feeds

    return list(feeds(settings.senvec_news_feeds, symbols, sample=settings.caelum_data == "sample"))


# A provider of another format joins here: its component's name, and what makes its adapters from the settings.
REGISTRY: dict[str, Callable[[SenvecSettings, Sequence[str]], list[Provider]]] = {"news": _news}


def configured(settings: SenvecSettings, symbols: Sequence[str]) -> list[Provider]:
    """The providers that the settings give this component, for `symbols`; often none."""
    make = REGISTRY.get(settings.senvec_component)
    return make(settings, symbols) if make else []
