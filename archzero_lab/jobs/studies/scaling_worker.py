"""A client of a claim on scaling: asks one server again and again between two moments, and writes down how often.

    python -m archzero_lab.jobs.studies.scaling_worker JOB

JOB is JSON: {"url", "queries", "from", "until", "out"}; times are CLOCK_MONOTONIC in seconds. Of a Redis the queries
are keys, read fifty at a time.
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
    done = (_of_redis if job["url"].startswith("redis") else _of_postgres)(job)
    out = Path(job["out"])
    partial = out.with_suffix(".part")
    partial.write_text(str(done))
    partial.rename(out)


def _of_postgres(job: dict[str, Any]) -> int:
    with psycopg.connect(job["url"], autocommit=True) as connection:
        queries = cycle(job["queries"])

        def ask() -> int:
            query, values = next(queries)
            connection.execute(query.encode(), values, prepare=True).fetchall()
            return 1

        return _between(job, ask)


def _of_redis(job: dict[str, Any]) -> int:
    client = redis.Redis.from_url(job["url"])

    def ask() -> int:
        with client.pipeline(transaction=False) as pipe:
            for key in job["queries"][:AT_ONCE]:
                pipe.get(key)
            return len(pipe.execute())

    return _between(job, ask)


def _between(job: dict[str, Any], ask: Callable[[], int]) -> int:
    """Ask from now on; how much was answered between the two moments."""
    done = 0
    while (now := time.monotonic()) < job["until"]:
        times = ask()
        if now >= job["from"]:
            done += times
    return done


if __name__ == "__main__":
    main()
