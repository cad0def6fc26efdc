"""`python -m senvec.replay`: a local news server for the sample, RSS 2.0 over real HTTP.

What it serves is made up and says so. It is the standard library's server: its few fixed documents need no
framework, which would take three times the memory.
"""

import json
import platform
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import format_datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple, NoReturn, Self

from caelum_common import environment, memory, problem, release
from caelum_common.market import SampleMarket, market
from caelum_common.start import CannotStart, bind, starting
from senvec.headlines import LABEL, headlines

SESSIONS = 60
IDLE_S = 5.0
FINISH_S = 2.0
RSS, JSON = "application/rss+xml; charset=utf-8", "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
ROUTES = ("/health", "/ready", "/version", "/metrics", "/rss/{symbol}")


@dataclass(frozen=True)
class Settings:
    """Where to listen, and the seed of the headlines."""

    bind: str = "127.0.0.1"
    port: int = 18090
    seed: int = 0

    @classmethod
    def read(cls) -> Self:
        """From the environment; raises CannotStart for a value that doesn't fit."""
        values = environment.values()
        return cls(
            values.get("CAELUM_BIND", cls.bind),
            _number(values, "SENVEC_REPLAY_PORT", cls.port, range(65536)),
            _number(values, "SENVEC_REPLAY_SEED", cls.seed),
        )


def _number(values: dict[str, str], key: str, default: int, allowed: range | None = None) -> int:
    try:
        number = int(values.get(key, default))
    except ValueError:
        raise CannotStart(f"settings don't fit: {key}: not a whole number; correct the environment") from None
    if allowed is not None and number not in allowed:
        raise CannotStart(f"settings don't fit: {key}: not in 0 to {allowed[-1]}; correct the environment")
    return number


class Answer(NamedTuple):
    """What a route answers; `route` is its pattern, under which it is counted."""

    route: str
    status: int
    kind: str
    body: bytes


class Replay(ThreadingTCPServer):
    """Serves `feeds`, RSS documents by symbol, on a bound socket."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listener: socket.socket, feeds: dict[str, bytes]) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_activate()
        running = release.current()
        self._feeds = feeds
        self._names = {"service": "senvec", "component": "replay", "version": running.version}
        self._commit = running.commit
        self._began = time.monotonic()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._counting = threading.Lock()

    def finish(self) -> None:
        """Answer those whose connection nobody has taken yet, though they hold it to be open; wait for all answers."""
        self.socket.setblocking(False)
        self._wait()  # with no other thread left to run, nobody gets in between the last look and the close
        waiting = list(self._waiting())
        self.socket.close()
        for connection, address in waiting:
            self.process_request(connection, address)
        self._wait()

    def _waiting(self) -> Iterator[tuple[socket.socket, Any]]:
        with suppress(BlockingIOError):
            while True:
                yield self.socket.accept()

    def _wait(self) -> None:
        end = time.monotonic() + FINISH_S / 2
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join(max(0.0, end - time.monotonic()))

    def answer(self, path: str) -> Answer:
        """The answer to a GET of `path`, which it counts."""
        given = self._answer(path.partition("?")[0])
        with self._counting:
            self._counts[given.route, given.status] += 1
        return given

    def _answer(self, path: str) -> Answer:
        documents: dict[str, dict[str, Any]] = {
            "/health": {"status": "healthy", **self._names, "uptime_s": round(time.monotonic() - self._began, 1)},
            "/ready": {"ready": True, "checks": {}},
            "/version": {
                **self._names,
                "commit": self._commit,
                "schema_hash": None,
                "python": platform.python_version(),
            },
        }
        if path in documents:
            return Answer(path, 200, JSON, _json(documents[path]))
        if path == "/metrics":
            return Answer(path, 200, METRICS, self._metrics())
        if path.startswith("/rss/"):
            return self._feed(path)
        return _refusal("none", path, f"no route {path}", f"the routes are {', '.join(ROUTES)}")

    def _feed(self, path: str) -> Answer:
        symbol = path.removeprefix("/rss/")
        if symbol not in self._feeds:
            return _refusal(
                "/rss/{symbol}", path, f"no feed for {symbol!r}", f"the sample has {', '.join(self._feeds)}"
            )
        return Answer("/rss/{symbol}", 200, RSS, self._feeds[symbol])

    def _metrics(self) -> bytes:
        name = "caelum_replay_requests_total"
        with self._counting:
            counts = sorted(self._counts.items())
        lines = [f"# HELP {name} Answered requests", f"# TYPE {name} counter"]
        version = self._names["version"]
        for (route, status), count in counts:
            lines.append(f'{name}{{component="replay",version="{version}",route="{route}",status="{status}"}} {count}')
        return ("\n".join(lines) + "\n").encode()


class Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    server: Replay
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Answer with what the server has for the path."""
        _, status, kind, body = self.server.answer(self.path)
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a line per request says no more than the metrics."""


def _refusal(route: str, path: str, detail: str, remedy: str) -> Answer:
    title = HTTPStatus.NOT_FOUND.phrase
    return Answer(route, 404, problem.MEDIA_TYPE, _json(problem.document(404, title, detail, remedy, instance=path)))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def feed(symbol: str, known: SampleMarket, seed: int) -> bytes:
    """RSS 2.0 with the headlines of the sample's last 60 sessions, newest first."""
    closes = [known.close_time(session) for session in known.sessions[-SESSIONS:]]
    items = "".join(
        f"<item><title>{escape(item.title)}</title><category>{LABEL}</category>"
        f'<guid isPermaLink="false">{escape(item.key)}</guid>'
        f"<pubDate>{format_datetime(item.published)}</pubDate></item>\n"
        for item in reversed(list(headlines(symbol, closes, seed)))
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0"><channel>'
        f"<title>{symbol} news ({LABEL})</title><link>http://localhost/rss/{symbol}</link>"
        f"<description>Made-up headlines about {symbol}: {LABEL}, not news</description>\n{items}</channel></rss>\n"
    )
    return text.encode()


def feeds(seed: int) -> dict[str, bytes]:
    """Documents of all symbols of the sample; the market itself is let go."""
    known = SampleMarket(market("sample").path)
    return {symbol: feed(symbol, known, seed) for symbol in known.symbols}


def main() -> NoReturn:
    """Serve until SIGTERM or SIGINT; connections that were accepted are answered."""
    with starting():
        settings = Settings.read()
        listener = bind(settings.bind, settings.port, "SENVEC_REPLAY_PORT")
        server = Replay(listener, feeds(settings.seed))
    memory.release()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(json.dumps({"event": "replaying", "url": f"http://{settings.bind}:{settings.port}"}), flush=True)
    server.serve_forever()
    server.finish()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
