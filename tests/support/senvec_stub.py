"""A SenVec of one thread per request over real HTTP that can be told to hang, fail, go and come back."""

import contextlib
import json
import socket
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from caelum_common import vector
from support.processes import free_port

Mode = Literal["ok", "hang", "slow", "error", "degraded", "other schema", "garbage", "wrong shape"]

GROUPS = tuple(vector.schema().groups)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: callers that give up waiting are part of the tests."""


class StubSenVec:
    """Answers POST /features with `value` in every dimension; `posts` holds the bodies that arrived."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.mode: Mode = "ok"
        self.value = 0.5
        self.slow_s = 0.6
        self.posts: list[dict[str, Any]] = []
        self._release = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "StubSenVec":
        stub = self
        self._release.clear()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub._open.add(self.request)

            def finish(self) -> None:
                super().finish()
                stub._open.discard(self.request)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                stub.posts.append(body)
                if stub.mode == "hang":
                    stub._release.wait(30)
                    return
                if stub.mode == "slow":
                    stub._release.wait(stub.slow_s)
                status, content = stub.answer(body)
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Closes the port and all connections, as a process that ends does."""
        if self._server is not None:
            self._release.set()
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._server = None

    def __enter__(self) -> "StubSenVec":
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and content for a POST /features."""
        if self.mode == "error":
            return 500, b'{"title": "Internal error"}'
        if self.mode == "garbage":
            return 200, b"<html>"
        symbols = body["symbols"]
        dates = [date.fromisoformat(day).isoformat() for day in body["dates"]]
        width = vector.WIDTH - (self.mode == "wrong shape")
        content = {
            "schema": vector.schema().name,
            "schema_hash": "f" * 64 if self.mode == "other schema" else vector.schema().hash,
            "as_of": "2013-03-01T21:00:00+00:00",
            "source": "sample",
            "degraded": self.mode == "degraded",
            "version": "dev",
            "symbols": symbols,
            "dates": dates,
            "values": [[[self.value] * width for _ in dates] for _ in symbols],
            "mask": [[[1] * width for _ in dates] for _ in symbols],
            "age_s": dict.fromkeys(GROUPS, 3600.0),
            "missing": [],
        }
        return 200, json.dumps(content).encode()
