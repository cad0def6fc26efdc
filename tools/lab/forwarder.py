"""Shows one address of the lab's network on a loopback port: listens outside of the namespace and dials inside."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from tools.lab import network
from tools.lab.places import ROOT, Places
from tools.lab.processes import Process, start

CHUNK = 65536


def make(places: Places, address: str, port: int) -> tuple[Process, int]:
    """Start the forwarder to `address` and `port`; its process, and the loopback port that it has."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        handle = listening.fileno()
        command = [sys.executable, "-m", "tools.lab.forwarder", str(handle), str(places.network), address, str(port)]
        process = start(command, places.folder / "forwarder.log", ROOT, [handle])
        return process, int(listening.getsockname()[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(listening: socket.socket, address: str, port: int) -> None:
    """Hand every connection on; one that cannot be is closed, so the caller's browser says so at once."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            near, far = await asyncio.wait_for(asyncio.open_connection(address, port), timeout=5)
        except (OSError, TimeoutError):
            writer.close()
            return
        await asyncio.gather(_pump(reader, far), _pump(near, writer))
        for end in (far, writer):
            end.close()

    server = await asyncio.start_server(connected, sock=listening)
    async with server:
        await server.serve_forever()


def main(handle: str, path: str, address: str, port: str) -> None:
    """Take the socket made outside, enter the namespace, and serve."""
    listening = socket.socket(fileno=int(handle))
    network.join(Path(path))
    asyncio.run(serve(listening, address, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
