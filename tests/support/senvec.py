"""SenVec's five processes and the replay server, on free ports."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from support.processes import Service, free_port, running

MICROSERVICES = ("sentimentrader", "alphavantage", "social", "news")


@dataclass
class SenVec:
    """The running services by component name, `replay` among them, and how each was started."""

    services: dict[str, Service]
    env: dict[str, dict[str, str]]
    ports: dict[str, int]
    client: httpx.Client

    @property
    def url(self) -> str:
        """The aggregator's address."""
        return self.services["aggregator"].url

    def start_again(self, name: str) -> None:
        """Start a microservice that was killed, as a supervisor would."""
        self.services[name] = Service("senvec.server", self.env[name], self.ports[name])


@contextmanager
def senvec() -> Iterator[SenVec]:
    """All six, ready."""
    names = ("replay", *MICROSERVICES, "aggregator")
    ports = {name: free_port() for name in names}
    urls = {name: f"http://127.0.0.1:{ports[name]}" for name in names}
    common = {
        "SENVEC_UPSTREAMS": json.dumps({name: urls[name] for name in MICROSERVICES}),
        "SENVEC_NEWS_FEEDS": json.dumps([f"{urls['replay']}/rss/{{symbol}}"]),
    }
    env = {name: {**common, "SENVEC_COMPONENT": name, "SENVEC_PORT": str(ports[name])} for name in names[1:]}
    env["replay"] = {"SENVEC_REPLAY_PORT": str(ports["replay"])}
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(
                running("senvec.replay" if name == "replay" else "senvec.server", env[name], ports[name], ready=False)
            )
            for name in names
        }
        for service in services.values():
            service.wait_ready(60)
        found = SenVec(services, env, ports, stack.enter_context(httpx.Client(timeout=10)))
        try:
            yield found
        finally:
            for service in found.services.values():
                service.process.terminate()
            for service in found.services.values():
                service.stop()
                service.forget()
