"""What both processes do before they serve: find the database, and make sure that its schema fits."""

import asyncio

from caelum_common.start import CannotStart
from pim import schema, store
from pim.address import NoDatabase, address
from pim.database import Database, DatabaseGone

# After a reboot the database may need a moment longer than we do.
PATIENCE_S = 10.0
PAUSE_S = 0.5


def database(application: str) -> Database:
    """The database named in the environment; raises CannotStart when none is."""
    try:
        return Database(address(), application)
    except NoDatabase as error:
        raise CannotStart(str(error)) from None


async def wait_until_usable(db: Database) -> None:
    """Return when the database answers with a schema that serves this release.

    Raises CannotStart when it does not answer within PATIENCE_S, or its schema is older than this release needs.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    while True:
        try:
            complaint = schema.complaint(await store.revision(db))
        except DatabaseGone as gone:
            if loop.time() < until:
                await asyncio.sleep(PAUSE_S)
                continue
            raise CannotStart(f"{gone}; start it, or correct the credentials") from None
        if complaint:
            raise CannotStart(complaint)
        return
