"""One connection to pim_database that survives the server's absence, for a process that asks each second."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg2

from caelum.database.connection import Unreachable, connect, one_line, place
from caelum.errors import Refused

if TYPE_CHECKING:
    from psycopg2 import extensions


class Link:
    """The connection, opened when first needed and again after anything went wrong with it."""

    def __init__(self, login: Mapping[str, Any]) -> None:
        self._login = login
        self._connection: extensions.connection | None = None

    @contextmanager
    def transaction(self) -> Iterator["extensions.cursor"]:
        """A cursor in one transaction; raises Unreachable while the server is away, Refused for what it rejects."""
        committed = False
        try:
            connection = self._connection = self._connection or connect(self._login)
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
            committed = True
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise Unreachable(f"{place(self._login)} was lost: {one_line(error)}; start it") from None
        except psycopg2.Error as error:
            raise Refused(
                f"{place(self._login)} rejected it: {one_line(error)}; migrate it with `python -m pim.migrate upgrade`"
            ) from None
        finally:
            if not committed:  # which also takes back what was not
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()
