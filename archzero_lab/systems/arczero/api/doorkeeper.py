"""Who is let in: requests to a Host of ours, writes from no page of another origin, bodies that say what they are.

A browser sends requests to loopback for any page that asks it to. It tells where from (Origin, Sec-Fetch-Site) and whom
it believes it asks (Host, which DNS rebinding makes another name); no program but a browser is stopped by this.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any

from archzero_lab.postgres.fair_turns import CLIENT
from archzero_lab.systems.arczero.api.wire import Answer, of_error, send_answer

_SAFE = ("GET", "HEAD", "OPTIONS")
_ANY_TYPE = "/api/v1/import"
"""Where rows come in other forms than JSON too; its handler knows which."""
_REMEMBERED = 1_000


class Doorkeeper:
    """An ASGI application around another. `hosts` are names that it is reached by, beside addresses and this machine's.

    HEAD is answered as GET is, without the body (RFC 9110, 9.3.2).
    """

    def __init__(self, app: Any, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self._known: set[bytes] = set()
        self.hot_reads: Any = None
        """What connections answer themselves (hot_reads.HotReads), None for nothing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand on what may come in; answer 400, 403, 415 or 421 to the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        CLIENT.set(scope["client"][0] if scope.get("client") else "")
        scope = _in_one_line(scope)
        refused = self._refusal(scope)
        if refused is not None:
            await send_answer(refused, send)
        elif scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Any) -> Answer | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return of_error(400, "bad_request", "send one Host header", "Host")
        if not self.lets_in(hosts[0]):
            return of_error(421, "misdirected", "this service has another name; see docs/security.md", "Host")
        return None if scope["method"] in _SAFE else _refused_write(scope, hosts[0].decode("latin-1"))

    def lets_in(self, host: bytes) -> bool:
        """Whether a Host header names this service."""
        if host in self._known:
            return True
        ours = self._is_ours(host.decode("latin-1"))
        if ours and len(self._known) < _REMEMBERED:
            self._known.add(host)
        return ours

    def _is_ours(self, host: str) -> bool:
        name = _hostname(host)
        if name in self._hosts or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)  # an address is no name that somebody else could point here
        except ValueError:
            return False
        return True


def _in_one_line(scope: Any) -> Any:
    """The request with each of its lists of ETags in one line: several mean the same (RFC 9110, 5.3)."""
    names = [name for name, _ in scope["headers"]]
    twice = [name for name in (b"if-none-match", b"if-match") if names.count(name) > 1]
    if not twice:
        return scope
    merged = [(name, b", ".join(value for other, value in scope["headers"] if other == name)) for name in twice]
    return {**scope, "headers": [one for one in scope["headers"] if one[0] not in twice] + merged}


def _refused_write(scope: Any, host: str) -> Answer | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", "none")
    foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
    if foreign or site not in ("same-origin", "none"):
        return of_error(403, "forbidden", "a page of another origin may not write here")
    if headers.get(b"content-length", "0") == "0" and b"transfer-encoding" not in headers:
        return None
    if headers.get(b"content-encoding", "identity").strip().lower() not in ("identity", ""):
        return of_error(415, "unsupported_media_type", "send the body as it is, not compressed", "Content-Encoding")
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json") or (kind and scope["path"].rstrip("/") == _ANY_TYPE):
        return None
    wanted = "its type" if scope["path"].rstrip("/") == _ANY_TYPE else "application/json"
    return of_error(415, "unsupported_media_type", f"send the body with Content-Type: {wanted}", "Content-Type")


def _hostname(host: str) -> str:
    """The name of a Host header, without its port and an IPv6 address' brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _without_body(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sending
