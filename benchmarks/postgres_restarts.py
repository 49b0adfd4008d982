"""What a service's callers see of a PostgreSQL that is restarted: five times fast and five times immediate.

    .venv/bin/python benchmarks/postgres_restarts.py

A server of the benchmark's own, a service without a cache in front of it (each read needs the database), twelve
callers: half read a card, half write one, each ten times a second. "Back" is the moment from which a connection of our
own is answered; full speed is the first second with all that was asked answered by 2xx. Writes
benchmarks/results/postgres_restarts.json.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx
import psycopg

from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.hurt import HurtPostgres
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.systems.arczero.portfolios import choose_portfolio, ensure_base, make_arms
from archzero_lab.systems.arczero.services import RunningService, Serving, start_service

RESULT = ROOT / "benchmarks" / "results" / "postgres_restarts.json"
CALLERS, PERIOD_S, STEADY_S, AFTER_S = 12, 0.1, 2.0, 5.0
MODES = ("fast", "immediate") * 5


@dataclass(frozen=True)
class Call:
    """One answer: when it was asked, seconds that it took, its status (0: none), whether it said when to come back."""

    asked: float
    took_s: float
    status: int
    write: bool
    told: bool


async def callers(service: RunningService, ids: list[str], calls: list[Call], end: asyncio.Event) -> None:
    """Ask until the end, each caller in its own rhythm."""

    async def call(client: httpx.AsyncClient, number: int) -> None:
        write = number % 2 == 0
        await asyncio.sleep(PERIOD_S * number / CALLERS)
        while not end.is_set():
            asked = time.perf_counter()
            path = f"/api/v1/cards/{random.choice(ids)}"
            try:
                if write:
                    answer = await client.put(path, json={"description": f"at {asked}"})
                else:
                    answer = await client.get(path)
                status, told = answer.status_code, "retry-after" in answer.headers
            except httpx.HTTPError:
                status, told = 0, False
            took_s = time.perf_counter() - asked
            calls.append(Call(asked, took_s, status, write, told))
            await asyncio.sleep(max(0.0, PERIOD_S - took_s))

    async with httpx.AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
        await asyncio.gather(*[call(client, number) for number in range(CALLERS)])


def back(url: str) -> float:
    """When the server first answers again."""
    while True:
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
                return time.perf_counter()
        except psycopg.OperationalError:
            time.sleep(0.01)


def seen(calls: list[Call], stopped: float, returned: float) -> dict[str, float]:
    """One restart as its callers saw it."""
    bad = [one.asked + one.took_s for one in calls if one.asked >= stopped - 1 and not 200 <= one.status < 300]
    during = [one for one in calls if one.asked + one.took_s >= stopped]
    after = [one for one in calls if one.asked >= returned + 1]
    return {
        "away_s": returned - stopped,
        "full_after_s": max(0.0, max(bad, default=returned) - returned),
        "longest_s": max(one.took_s for one in during),
        "reads_refused": sum(not one.write and one.status == 503 for one in during),
        "writes_refused": sum(one.write and one.status == 503 for one in during),
        "other_failures": sum(one.status != 503 and not 200 <= one.status < 300 for one in during),
        "refused_without_retry_after": sum(one.status == 503 and not one.told for one in during),
        "failed_from_1_s_after": sum(not 200 <= one.status < 300 for one in after),
    }


async def measure(stack: Stack, url: str, postgres: HurtPostgres) -> list[dict[str, Any]]:
    """All restarts, one after the other, with the callers going on."""
    service = await asyncio.to_thread(start_service, stack, Serving("restarted", url, cached=False))
    rows = []
    try:
        with psycopg.connect(url) as connection:
            ids = [str(row[0]) for row in connection.execute("SELECT id FROM cards ORDER BY id LIMIT 200").fetchall()]
        for mode in MODES:
            calls: list[Call] = []
            end = asyncio.Event()
            asking = asyncio.create_task(callers(service, ids, calls, end))
            await asyncio.sleep(STEADY_S)
            stopped = time.perf_counter()
            await asyncio.to_thread(partial(postgres.stop, immediate=mode == "immediate"))
            watching = asyncio.create_task(asyncio.to_thread(back, url))
            await asyncio.to_thread(postgres.start)
            returned = await watching
            await asyncio.sleep(AFTER_S)
            end.set()
            await asking
            rows.append(
                {"mode": mode, **{name: round(value, 3) for name, value in seen(calls, stopped, returned).items()}}
            )
            print(rows[-1], flush=True)
    finally:
        await asyncio.to_thread(stack.registry.stop, service.record)
    return rows


def main() -> None:
    """Measure and write the result."""
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        postgres = HurtPostgres(stack)
        try:
            hurt = replace(stack, postgres_url=postgres.server.url)
            base = ensure_base(hurt, choose_portfolio(5_000, 1, None, None), lambda share: None)
            url = make_arms(hurt, base, "restarts", lambda *_: None)["treatment"]
            rows = asyncio.run(measure(stack, url, postgres))
            told = {"date": dt.date.today().isoformat(), "environment": describe(stack), "restarts": rows}
        finally:
            postgres.close()
    told["worst"] = {
        name: max(row[name] for row in rows)
        for name in ("full_after_s", "longest_s", "other_failures", "failed_from_1_s_after")
    }
    told["met"] = told["worst"]["full_after_s"] <= 1.0 and told["worst"]["longest_s"] <= 2.0
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    print(told["worst"], told["met"])


if __name__ == "__main__":
    main()
