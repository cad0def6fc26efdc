"""Runs an application as a process that starts with one clear line and stops without failing a request."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

import structlog
import uvicorn
from fastapi import FastAPI

from caelum_common import log as logs
from caelum_common import memory, release
from caelum_common.start import bind, starting

GRACE_S = 0.5
FINISH_S = 1.5
LIMIT_S = 2.8

log = structlog.get_logger()


def run(app_factory: Callable[[], FastAPI], *, host: str, port: int, setting: str = "its port") -> NoReturn:
    """Serve what `app_factory` makes on host:port until SIGTERM or SIGINT; never returns.

    On a signal it stops accepting, answers for half a second what is already connected, then closes; at most 3 s in
    all. Exit code 0 after a stop, 78 where the factory raises CannotStart or the port can't be had: starting again
    would help with neither. `setting` names the setting that moves the port.
    """
    with starting():
        listener = bind(host, port, setting)
        app = app_factory()
    settings = app.state.settings
    logs.configure(settings.log_level, instance=settings.instance, version=release.current().version)
    # uvicorn raises a caught signal again when it is done, which would make each stop look like a crash.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none")
    config.timeout_graceful_shutdown = FINISH_S  # type: ignore[assignment]  # it ends in asyncio.wait_for
    _Server(config).run([listener])
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """uvicorn, but connections that were accepted and not yet read are answered on a stop, not dropped."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        memory.release()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        watchdog = threading.Timer(LIMIT_S, _give_up)
        watchdog.daemon = True
        watchdog.start()
        accepted = [connection for listener in sockets or [] for connection in _waiting(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in accepted:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        # Keep-alive callers take this answer as their last on the connection and open the next one elsewhere.
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(GRACE_S)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        state = self.server_state
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=state, app_state=self.lifespan.state
        )


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Connections that callers hold to be open and nobody has taken yet: closing the listener would reset them."""
    with suppress(BlockingIOError):
        while True:
            connection, _address = listener.accept()
            connection.setblocking(False)
            yield connection


def _give_up() -> None:
    log.error("stopping took too long; leaving with requests open", limit_s=LIMIT_S)
    os._exit(0)
