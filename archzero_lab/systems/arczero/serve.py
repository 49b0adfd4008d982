"""Runs the card service as a server: uvicorn, with connections that answer hot reads themselves.

python -m archzero_lab.systems.arczero.serve --host HOST --port PORT --workers N
"""

from __future__ import annotations

import argparse

import uvicorn

from archzero_lab.systems.arczero.api.hot_reads import HotConnection

_IDLE_S = 75
"""A connection on which nothing was asked for so long is closed; longer than most clients keep theirs."""


def main() -> None:
    """Serve until a signal ends it. What the service is, ServiceConfig says in the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    uvicorn.run(
        "archzero_lab.systems.arczero.service:create",
        factory=True,
        host=given.host,
        port=given.port,
        workers=given.workers,
        http=HotConnection,
        loop="uvloop",
        ws="none",
        interface="asgi3",
        lifespan="on",
        backlog=1024,
        timeout_keep_alive=_IDLE_S,
        # a worker that is stopped for a while, or has a busy machine under it, is not a dead one
        timeout_worker_healthcheck=60,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
