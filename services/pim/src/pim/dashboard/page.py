"""The page in the browser: NiceGUI keeps it up to date over a socket."""

import asyncio
from collections.abc import Callable
from importlib.resources import files

from fastapi import FastAPI
from nicegui import core, ui
from nicegui.server import Server
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pim.dashboard import heat, history, render, topology
from pim.dashboard.board import Board, View

REFRESH_S = 3.0
# A page is sent after this long even if a service has not answered yet.
PATIENCE_S = 1.0
STOP_NOTICED_S = 0.2

PARTS: dict[str, Callable[[View], str]] = {
    "masthead": render.header,
    "topology": topology.topology,
    "predictions": render.predictions,
    "deployments": history.deployments,
    "sentiment": heat.sentiment,
}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<path d="M3 16 29 5v22z" fill="#2a6f97" opacity=".35"/><path d="M3 16 29 11v10z" fill="#2a6f97"/></svg>'
)
# Nothing is fetched from outside. Vue compiles templates in the browser, hence eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


def mount(app: FastAPI, board: Board) -> None:
    """Put the page at `/` of `app`; call it after all other routes were added."""
    folder = files("pim.dashboard")
    head = f"<style>{(folder / 'style.css').read_text()}</style><script>{(folder / 'open.js').read_text()}</script>"

    @ui.page("/", title="Caelum", response_timeout=10)
    async def page() -> None:
        ui.add_head_html(head)
        first = await _soon(board)
        parts = {
            name: ui.html(draw(first) if first else _waiting(name), sanitize=False, tag="section").classes(name)
            for name, draw in PARTS.items()
        }

        async def refresh() -> None:
            view = await board.view()
            for name, draw in PARTS.items():
                content = draw(view)
                if parts[name].content != content:
                    parts[name].set_content(content)

        ui.timer(REFRESH_S, refresh, immediate=first is None)

    ui.run_with(
        app,
        title="Caelum",
        favicon=ICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10,
        binding_refresh_interval=None,
    )
    # Only pages of this very origin may open a socket; NiceGUI's default is any.
    core.sio.eio.cors_allowed_origins = None
    # The server speaks plain HTTP alone; long polling suits a page that changes every few seconds.
    core.app.config.socket_io_js_transports = ["polling"]
    # Else Quasar draws its loading bar for every poll.
    core.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    app.add_middleware(_Policy)


async def close_when_stopping() -> None:
    """Hang up on the open pages as soon as the server is told to stop.

    Their long polls would otherwise be waited for, and then cut off, on every stop.
    """
    # NiceGUI finds the running server and keeps it there.
    server = getattr(Server, "instance", None)
    while server is None or not server.should_exit:
        await asyncio.sleep(STOP_NOTICED_S)
    await core.sio.eio.disconnect()


async def _soon(board: Board) -> View | None:
    """The first view, or None when it takes too long; the asking goes on, for the next who wants it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(board.view())
    except TimeoutError:
        return None


def _waiting(name: str) -> str:
    return render.waiting() if name == "topology" else ""


class _Policy:
    """Adds the content security policy to every HTML page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["content-security-policy"] = POLICY
                    headers["referrer-policy"] = "no-referrer"
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        await self.app(scope, receive, with_policy if scope["type"] == "http" else send)
