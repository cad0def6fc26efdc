"""`python -m pim.worker`: the health monitor, a process of its own that outlives pim-web's restarts."""

import asyncio
import signal

import structlog

from caelum_common import log as logs
from caelum_common import release
from caelum_common.start import starting
from pim import probes, startup
from pim.database import Database
from pim.monitor import Monitor
from pim.settings import WorkerSettings

log = structlog.get_logger()


async def work(settings: WorkerSettings, db: Database) -> None:
    """Monitor until SIGTERM or SIGINT."""
    here = asyncio.current_task()
    assert here is not None  # noqa: S101 (a coroutine always runs inside a task)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, here.cancel)
    try:
        await startup.wait_until_usable(db)
        log.info("monitoring", fincoll=settings.fincoll_urls, senvec=settings.senvec)
        async with probes.client() as http:
            await Monitor(settings, db, http).run()
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        await db.close()


def main() -> None:
    with starting():
        settings = WorkerSettings()
        logs.configure(settings.log_level, instance=settings.instance, version=release.current().version)
        asyncio.run(work(settings, startup.database(settings.caelum_component)))


if __name__ == "__main__":
    main()
