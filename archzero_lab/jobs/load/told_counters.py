"""An arm's counters for a load that runs in another process, which has neither our libraries nor an arm's passwords."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from archzero_lab.errors import LabError

Counts = Callable[[], Mapping[str, Any]]


@contextmanager
def told_counters(arms: Mapping[str, Counts]) -> Iterator[dict[str, str]]:
    """Arm -> the URL, on loopback, that answers with what its counters are at that moment, as JSON.

    One is asked at a time. Where they cannot be had the answer is 500 with the reason.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The counters of the arm that the path names."""
            counts = arms.get(self.path.strip("/"))
            try:
                status, said = (404, {"error": "no such arm"}) if counts is None else (200, dict(counts()))
            except Exception as error:  # whatever it is, who asks must hear of it, and this thread go on
                status, said = 500, {"error": str(error) if isinstance(error, LabError) else f"{type(error).__name__}"}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: what is asked is no news."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield {arm: f"http://127.0.0.1:{server.server_port}/{arm}" for arm in arms}
        finally:
            server.shutdown()
            thread.join()
