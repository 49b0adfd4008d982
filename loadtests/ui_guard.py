"""Locust's web UI takes its own origin alone, and loads only the hosts that this run is for.

Locust lets any web page read it (CORS) and start a load on any host: a page that somebody has open could.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Response, jsonify, request

HOSTS = "ARCHZERO_LOAD_HOSTS"
"""The hosts that may be loaded, as a JSON list of URLs; without it those of --host and of this machine."""
_REFUSED = {403: "a page of another origin may not do this", 421: "this page has another name; see docs/security.md"}


class OwnOrigin:
    """A WSGI application around another: a Host of ours, writes from this very page, nothing readable from others."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Hand on what may come in; answer 403 or 421 to the rest."""
        status = refused(environ)
        if status is not None:
            return Response(_REFUSED[status] + "\n", status, mimetype="text/plain")(environ, start_response)

        def without_cors(said: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
            return start_response(said, kept, *more)

        return self._app(environ, without_cors)


def refused(environ: dict[str, Any]) -> int | None:
    """The status that a request is refused with; None where it may come in."""
    host = environ.get("HTTP_HOST", "")
    if not _is_ours(host):
        return 421
    if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS"):
        return None
    origin = environ.get("HTTP_ORIGIN")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    return 403 if foreign or environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("same-origin", "none") else None


def guard(web_ui: Any, environment: Any) -> None:
    """Put the guard around a web UI, and let it load only what this run is for."""
    given = {_place(url) for url in json.loads(os.environ.get(HOSTS, "[]"))}
    if environment.host:
        given.add(_place(environment.host))

    def may_load(host: str) -> bool:
        return _place(host) in given or (HOSTS not in os.environ and _is_loopback(urlsplit(host).hostname or ""))

    @web_ui.app.before_request
    def only_the_runs_hosts() -> Response | None:
        told = request.form.get("host") or (request.get_json(silent=True) or {} if request.is_json else {}).get("host")
        if request.method != "POST" or not told or may_load(str(told)):
            return None
        answer: Response = jsonify(
            {
                "success": False,
                "message": f"this load is for {', '.join(sorted(given)) or 'this machine'}; another host wants a"
                " command of its own (--host, --i-own-this-host)",
                "host": environment.host,
            }
        )
        return answer

    web_ui.app.wsgi_app = OwnOrigin(web_ui.app.wsgi_app)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_ours(host: str) -> bool:
    name = (urlsplit(f"//{host}").hostname or "").lower()
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        ipaddress.ip_address(name)  # an address is no name that somebody else could point here
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
