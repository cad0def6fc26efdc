"""`python -m pim.web`: the API and the dashboard."""

import asyncio

from fastapi import FastAPI

from caelum_common import server
from caelum_common.server import starting
from pim import startup
from pim.app import build
from pim.settings import PimSettings


async def _check() -> None:
    """A connection of its own: the application's belongs to the server's event loop."""
    db = startup.database("pim-web")
    try:
        await startup.wait_until_usable(db)
    finally:
        await db.close()


def main() -> None:
    with starting():
        settings = PimSettings()

    def application() -> FastAPI:
        asyncio.run(_check())
        return build(settings, startup.database(settings.caelum_component))

    server.run(application, host=settings.caelum_bind, port=settings.pim_port, setting="PIM_PORT")


if __name__ == "__main__":
    main()
