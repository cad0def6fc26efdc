"""`python -m senvec.replay`: a local news server for the sample, RSS 2.0 over real HTTP.

What it serves is made up and says so.
"""

from email.utils import format_datetime
from functools import cache
from html import escape
from typing import Annotated, NoReturn

from fastapi import FastAPI, Path
from starlette.responses import Response

from caelum_common.app import create_app
from caelum_common.errors import Problem
from caelum_common.market import SampleMarket, market
from caelum_common.server import run, starting
from senvec.headlines import LABEL, headlines
from senvec.routes import SYMBOL
from senvec.settings import ReplaySettings

SESSIONS = 60


def create(settings: ReplaySettings) -> FastAPI:
    """The server's application: `/rss/{symbol}` for the symbols of the sample."""
    known = market("sample")
    app = create_app(title="SenVec", settings=settings, checks={})

    @cache
    def document(symbol: str) -> bytes:
        return feed(symbol, known, settings.senvec_replay_seed)

    @app.get("/rss/{symbol}")
    async def rss(symbol: Annotated[str, Path(pattern=SYMBOL)]) -> Response:
        if symbol not in known.symbols:
            raise Problem(404, "No feed", f"no feed for {symbol!r}", f"the sample has {', '.join(known.symbols)}")
        return Response(document(symbol), media_type="application/rss+xml; charset=utf-8")

    return app


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


def main() -> NoReturn:
    """Serve until stopped."""
    with starting():
        settings = ReplaySettings()
    run(
        lambda: create(settings),
        host=settings.caelum_bind,
        port=settings.senvec_replay_port,
        setting="SENVEC_REPLAY_PORT",
    )


if __name__ == "__main__":
    main()
