"""A service of the common parts alone, for tests of how every service starts and stops."""

import asyncio

from fastapi import FastAPI

from caelum_common.app import create_app
from caelum_common.server import run
from caelum_common.settings import ServiceSettings
from caelum_common.start import CannotStart, starting


class Settings(ServiceSettings):
    """`SLOW_REFUSAL` makes it refuse to start, with that reason."""

    caelum_component: str = "slow"
    slow_port: int = 0
    slow_refusal: str = ""


def create(settings: Settings) -> FastAPI:
    """An application whose `/sleep/{seconds}` takes that long."""
    if settings.slow_refusal:
        raise CannotStart(settings.slow_refusal)
    app = create_app(title="Slow", settings=settings, checks={})

    @app.get("/sleep/{seconds}")
    async def sleep(seconds: float) -> dict[str, float]:
        await asyncio.sleep(seconds)
        return {"slept": seconds}

    return app


if __name__ == "__main__":
    with starting():
        chosen = Settings()
    run(lambda: create(chosen), host="127.0.0.1", port=chosen.slow_port, setting="SLOW_PORT")
