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
def serve_counters(arms: Mapping[str, Counts]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """(arm -> the URL, on loopback, that answers with what its counters are at that moment; why one could not be had).

    One is asked at a time, as JSON. Where it cannot be had the answer is 500.
    """
    failed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The counters of the arm that the path names."""
            counts = arms.get(self.path.strip("/"))
            try:
                status, said = (404, {"error": "no such arm"}) if counts is None else (200, dict(counts()))
            except Exception as error:  # whatever it is, who asks must hear of it, and this thread go on
                failed.append(str(error) if isinstance(error, LabError) else type(error).__name__)
                status, said = 500, {"error": failed[-1]}
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
            yield {arm: f"http://127.0.0.1:{server.server_port}/{arm}" for arm in arms}, failed
        finally:
            server.shutdown()
            thread.join()
