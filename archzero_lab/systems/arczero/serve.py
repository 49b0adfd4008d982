"""Runs the card service as a server: uvicorn, with connections of ours.

python -m archzero_lab.systems.arczero.serve --host HOST --port PORT --workers N
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import threading
from typing import Any

import uvicorn

from archzero_lab.systems.arczero import service
from archzero_lab.systems.arczero.api.connections import IDLE_S, Connection

_MOST_FILES = 16_384
"""Of connections and all else that a worker holds open; a login's usual 1,024 are soon taken."""


def create() -> Any:
    """The application factory that worker processes call. A worker ends with the process that started it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="end after parent", daemon=True).start()
    return service.create()


def _end_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def main(factory: str = "archzero_lab.systems.arczero.serve:create") -> None:
    """Serve until a signal ends it. What the service is, ServiceConfig says in the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    uvicorn.run(
        factory,
        factory=True,
        host=given.host,
        port=given.port,
        workers=given.workers,
        http=Connection,
        loop="uvloop",
        ws="none",
        interface="asgi3",
        lifespan="on",
        backlog=1024,
        timeout_keep_alive=IDLE_S,
        # a worker that is stopped for a while, or has a busy machine under it, is not a dead one
        timeout_worker_healthcheck=60,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="error",  # a warning is a line for each request that somebody sends broken
    )


if __name__ == "__main__":
    main()
