"""One connection to pim_database that survives the server's absence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import DictRow, dict_row

from pim.address import Address

Connection = psycopg.AsyncConnection[DictRow]


class DatabaseGone(Exception):
    """The database does not answer now; one line saying why."""


class Database:
    """One connection, opened when first needed and again after it was lost; callers take turns.

    One is enough: a process asks short questions a few times a second, and each further connection costs the server
    a process of its own.
    """

    def __init__(self, address: Address, application: str) -> None:
        self.address = address
        self._application = application
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed at the end; raises DatabaseGone when there is none to be had."""
        async with self._turn:
            try:
                connection = await self._living()
                async with connection.transaction():
                    yield connection
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await self._drop()
                raise DatabaseGone(self.address.explain(error)) from error
            except asyncio.CancelledError:
                # A query that was cut short leaves the connection in a state not worth repairing.
                await self._drop()
                raise

    async def close(self) -> None:
        async with self._turn:
            await self._drop()

    async def _living(self) -> Connection:
        """The connection; a kept one is tried first, since the server may have restarted since its last use."""
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
            except psycopg.OperationalError:
                await self._drop()
            else:
                return self._connection
        options = {**self.address.options(self._application), "options": "-c statement_timeout=5000"}
        self._connection = await psycopg.AsyncConnection.connect(**options, row_factory=dict_row, autocommit=True)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
