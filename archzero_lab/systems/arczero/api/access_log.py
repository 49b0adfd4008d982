"""An access log that can be sent again: a JSON line a request with its time, method and path, and a write's body."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

MOST_BODY_BYTES = 256 * 1024
"""A larger body (an import) is left out of the log, and its request out of a replay."""

_READS = ("GET", "HEAD", "OPTIONS")


class AccessLog:
    """An ASGI application around another one. Headers are not recorded: they may hold secrets.

    Several worker processes append to one file; each line is one write.
    """

    def __init__(self, app: Any, path: Path) -> None:
        self._app = app
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand on, then note what was asked for."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.time()
        query = scope["query_string"].decode("latin-1")
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        line = {"time": round(began, 6), "method": scope["method"], "path": f"{path}?{query}" if query else path}
        if scope["method"] in _READS:
            self._note(line)
            await self._app(scope, receive, send)
            return
        parts: list[bytes] = []

        async def heard() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message.get("body", b""))
            return message

        try:
            await self._app(scope, heard, send)
        finally:
            body = b"".join(parts)
            if len(body) <= MOST_BODY_BYTES:
                line["body"] = body.decode("utf-8", "replace")
                kinds = [value for name, value in scope["headers"] if name == b"content-type"]
                line["type"] = kinds[0].decode("latin-1") if kinds else "application/json"
            self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps(line, separators=(",", ":")) + "\n").encode())
