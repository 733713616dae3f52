"""What every request passes: its number, its key, whose page it comes from; and what is noted of it."""

import json
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych.serve.keys import CHALLENGE, is_allowed
from diptych.serve.metrics import Metrics
from diptych.serve.options import Options
from diptych.serve.problems import Problem
from diptych.wording import brief

REQUEST_ID = "X-Request-ID"
WELL_FORMED = re.compile("[A-Za-z0-9._-]{1,64}")
PORT = re.compile(r":\d*$")
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
OPEN = ("/v2/health/live", "/v2/health/ready", "/healthz", "/livez", "/readyz")
"""What needs no key: a cluster asks it before it sends anybody here."""
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Of whatever is no page of ours: nothing in it runs, even if a browser shows it."""
ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, X-API-Key, Content-Type",
    "Access-Control-Expose-Headers": "Location, X-Diptych-Model, X-Diptych-Step, X-Diptych-Note, X-Request-ID",
    "Access-Control-Max-Age": "600",
}

WriteLine = Callable[[str], None]


class Gate:
    """Stands before the routes."""

    def __init__(self, app: ASGIApp, options: Options, metrics: Metrics, write_line: WriteLine) -> None:
        self.app, self.options, self.metrics, self.write_line = app, options, metrics, write_line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        passage = _Passage(scope, self.options)
        try:
            if problem := self._refusal(scope, passage.headers):
                await problem.response()(scope, receive, passage.sender(send))
            elif passage.is_preflight:
                await _nothing(passage.sender(send))
            else:
                await self.app(scope, passage.receiver(receive), passage.sender(send))
        except Exception:  # a fault of ours: its traceback is for whoever runs the server
            sys.stderr.write(traceback.format_exc())
            if passage.status == 0:
                fault = Problem(500, f"a fault of the server; its log has more at request {passage.id}")
                await fault.response()(scope, receive, passage.sender(send))
        finally:
            seconds = time.perf_counter() - passage.start
            self.metrics.request(passage.method, passage.route, passage.status, seconds)
            if self.options.access_log:
                self.write_line(json.dumps(passage.line(seconds)))

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        host, origin = headers.get("host"), headers.get("origin", "")
        # A page of another site may have its own name lead to this machine (DNS rebinding), and so be of one origin with it
        if host and self.options.hosts and PORT.sub("", host).strip("[]").lower() not in self.options.hosts:
            said = f"{brief(host, 80)} is no name of this server, which is for its own machine alone"
            return Problem(403, f"{said}; ask localhost, or let the name of a proxy in: --allow-origin https://NAME")
        if origin and origin.partition("://")[2] != host and origin not in self.options.origins:
            return Problem(403, "asked for by the page of another site; --allow-origin lets it")
        if scope["method"] == "OPTIONS" and origin in self.options.origins:
            return None
        if self.options.keys and scope["path"] not in OPEN and not is_allowed(headers, self.options.keys):
            return Problem(401, "a key is needed: Authorization: Bearer KEY", {"WWW-Authenticate": CHALLENGE})
        return None


class _Passage:
    """One request on its way, and what is noted of it."""

    def __init__(self, scope: Scope, options: Options) -> None:
        self.scope, self.headers, self.start = scope, Headers(scope=scope), time.perf_counter()
        given = self.headers.get(REQUEST_ID, "")
        self.id = given if WELL_FORMED.fullmatch(given) else uuid.uuid4().hex
        self.origin = origin if (origin := self.headers.get("origin", "")) in options.origins else ""
        self.status = self.received = self.sent = 0
        self.model = ""

    @property
    def is_preflight(self) -> bool:
        """Whether a browser only asks what it may ask."""
        return self.scope["method"] == "OPTIONS" and bool(self.origin)

    @property
    def method(self) -> str:
        """The method of HTTP; a client that invents methods makes no new ones."""
        method: str = self.scope["method"]
        return method if method in METHODS else "other"

    @property
    def route(self) -> str:
        """The pattern of the address; a client that tries addresses makes no new ones."""
        route: Any = self.scope.get("route")
        return getattr(route, "path", "other")

    def receiver(self, receive: Receive) -> Receive:
        """Counts what comes in."""

        async def counted() -> Message:
            message = await receive()
            self.received += len(message.get("body", b""))
            return message

        return counted

    def sender(self, send: Send) -> Send:
        """Adds what every answer has, and counts what goes out."""

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = MutableHeaders(scope=message)
                self.model = headers.get("x-diptych-model", "")
                headers[REQUEST_ID] = self.id
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", POLICY)
                if self.origin:
                    headers.update({"Access-Control-Allow-Origin": self.origin, "Vary": "Origin", **ALLOWED})
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            self.sent += len(message.get("body", b""))
            await send(message)

        return counted

    def line(self, seconds: float) -> dict[str, Any]:
        """What the log says of it. Neither keys nor the query, which may hold anything."""
        client = self.scope.get("client") or ("", 0)
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "client": client[0],
            "method": self.scope["method"],
            "path": self.scope["path"],
            "status": self.status,
            "ms": round(1000 * seconds, 1),
            "in": self.received,
            "out": self.sent,
            **({"model": self.model} if self.model else {}),
        }


async def _nothing(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
