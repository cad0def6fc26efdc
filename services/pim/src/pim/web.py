"""`python -m pim.web`: the API and the dashboard."""

import asyncio

from fastapi import FastAPI

from caelum_common.imports import without
from caelum_common.start import starting
from pim import startup
from pim.settings import PimSettings

# The dashboard's socket library imports what its clients need, uvicorn what it watches files with: 10 MB for nothing.
with without("aiohttp", "requests", "watchfiles"):
    from caelum_common import server
    from pim.app import build


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
