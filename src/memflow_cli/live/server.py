"""The page of a film under way, on this machine alone: a page, its script and style, and one WebSocket.

The address holds a token that cannot be guessed. Requests that name another host (DNS rebinding) or come from another
page (their Origin) are refused; what viewers send is bounded in size and rate, and is text everywhere.
"""

import asyncio
import contextlib
import ipaddress
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from memflow_cli.errors import UsageError
from memflow_cli.live.channel import Channel

MAX_MESSAGE_BYTES = 32 << 10  # from a viewer: a prompt of 4,000 characters, escaped, and room to spare
MAX_MESSAGES_A_SECOND = 20  # of one viewer; what comes faster is dropped
MAX_VIEWERS = 64
SEND_SECONDS = 20  # a viewer that takes nothing for so long is let go
LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # all addresses of this machine
_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Command = Callable[[dict[str, Any]], None]
"""What a viewer asks for, a JSON object, is handed over here; called from the server's thread, must not block."""


class LiveServer:
    """Serves a channel while entered. `address` is what a browser opens.

    `command`: None for a page that only watches. `host`: an address of this machine; loopback unless given.
    Raises UsageError if the host cannot be listened on.
    """

    def __init__(self, channel: Channel, command: Command | None = None, host: str = LOOPBACK, port: int = 0) -> None:
        self._channel = channel
        self._command = command
        self._token = secrets.token_urlsafe(24)
        self._viewers = 0
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}", "another --port?") from error
        name = f"[{host}]" if ":" in host else host
        names = {name}
        if host == LOOPBACK:
            names.add("localhost")
        elif host in EVERYWHERE:
            name = socket.gethostname()
            names |= {name, name.lower(), "localhost"}
        self._hosts = _Hosts(names, self.port, any_address=host in EVERYWHERE)
        self.address = f"http://{name}:{self.port}/{self._token}/"
        config = uvicorn.Config(
            self._app(),
            log_config=None,
            lifespan="on",
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=10,
            ws_ping_timeout=20,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def num_viewers(self) -> int:
        return self._viewers

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _app(self) -> Starlette:
        channel = self._channel

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> Any:
            channel.attach()
            yield

        place = f"/{self._token}"
        routes = [Route(f"{place}/", self._page), Route(f"{place}/{{name}}", self._file)]
        socket_route = WebSocketRoute(f"{place}/socket", self._talk)
        guard = Middleware(_OwnHostOnly, hosts=self._hosts)
        return Starlette(routes=[socket_route, *routes], middleware=[guard], lifespan=lifespan)

    async def _page(self, request: Request) -> Response:
        return _file("page.html")

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        return _file(name) if name in _TYPES else PlainTextResponse("not here", 404)

    async def _talk(self, viewer: WebSocket) -> None:
        if self._viewers >= MAX_VIEWERS:
            await viewer.close(1013)
            return
        await viewer.accept()
        self._viewers += 1
        sending = asyncio.create_task(self._send(viewer))
        try:
            await self._receive(viewer)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the viewer has left
        finally:
            self._viewers -= 1
            sending.cancel()

    async def _send(self, viewer: WebSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async for message in self._channel.follow():
                sent = viewer.send_text(message) if isinstance(message, str) else viewer.send_bytes(message)
                await asyncio.wait_for(sent, SEND_SECONDS)
            return
        with contextlib.suppress(RuntimeError):
            await viewer.close(1008)

    async def _receive(self, viewer: WebSocket) -> None:
        """Hands JSON objects over, at most so many a second; whatever else comes is dropped."""
        second, count = 0.0, 0
        while True:
            text = await viewer.receive_text()
            now = time.monotonic()
            if now - second >= 1:
                second, count = now, 0
            count += 1
            if count > MAX_MESSAGES_A_SECOND:
                await asyncio.sleep(second + 1 - now)  # the flood waits in its own socket
            with contextlib.suppress(ValueError, RecursionError):
                content = json.loads(text)
                if self._command is not None and isinstance(content, dict):
                    self._command(content)


@dataclass(frozen=True)
class _Hosts:
    """What a request may call this machine. `any_address`: also each of its addresses in numbers, which no stranger's name
    stands for."""

    names: set[str]
    port: int
    any_address: bool = False

    def are(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        return port == str(self.port) and (name in self.names or (self.any_address and _is_address(name)))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class _OwnHostOnly:
    """Refuses what another host's name or another page's script has sent here."""

    def __init__(self, app: ASGIApp, hosts: _Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_own(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("not for this host", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["type"] == "websocket" and not origin:
            return False
        is_own_page = not origin or (origin.startswith("http://") and self._hosts.are(origin.removeprefix("http://")))
        return self._hosts.are(headers.get(b"host", b"").decode("latin-1")) and is_own_page


def _file(name: str) -> Response:
    content = (resources.files("memflow_cli.live") / name).read_bytes()
    headers = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(content, media_type=_TYPES[name], headers=headers)
