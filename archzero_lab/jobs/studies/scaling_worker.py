"""A client of a claim on scaling: asks one server again and again between two moments, and writes down how fast.

    python -m archzero_lab.jobs.studies.scaling_worker JOB

JOB is JSON: {"url", "queries", "seconds", "ready", "go", "out"}. It has asked once when `ready` is there, and begins at
the moment that stands in `go` (CLOCK_MONOTONIC, seconds). Of a Redis the queries are keys, fifty at a time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import psycopg
import redis

AT_ONCE = 50


def main() -> None:
    """Run the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    rate = (_of_redis if job["url"].startswith("redis") else _of_postgres)(job)
    out = Path(job["out"])
    partial = out.with_suffix(".part")
    partial.write_text(str(rate))
    partial.rename(out)


def _of_postgres(job: dict[str, Any]) -> float:
    with psycopg.connect(job["url"], autocommit=True) as connection:
        queries = cycle(job["queries"])

        def ask() -> int:
            query, values = next(queries)
            connection.execute(query.encode(), values, prepare=True).fetchall()
            return 1

        return _between(job, ask)


def _of_redis(job: dict[str, Any]) -> float:
    client = redis.Redis.from_url(job["url"])

    def ask() -> int:
        with client.pipeline(transaction=False) as pipe:
            for key in job["queries"][:AT_ONCE]:
                pipe.get(key)
            return len(pipe.execute())

    return _between(job, ask)


def _between(job: dict[str, Any], ask: Callable[[], int]) -> float:
    """Answers a second from the moment on for so long, of one at least, however late it was."""
    ask()
    Path(job["ready"]).touch()
    go = Path(job["go"])
    while not go.exists():
        time.sleep(0.01)  # polling until all are ready
    time.sleep(max(0.0, float(go.read_text()) - time.monotonic()))
    began, done = time.monotonic(), 0
    while True:
        done += ask()
        if (took := time.monotonic() - began) >= job["seconds"]:
            return done / took


if __name__ == "__main__":
    main()
