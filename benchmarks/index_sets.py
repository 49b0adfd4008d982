"""Three index sets side by side: none, phase 5's, v2. What a request takes, what they weigh, what they cost a write.

    .venv/bin/python -m benchmarks.index_sets [--cards 1000000] [--inventory FILE --relationships FILE]

Services without a cache over HTTP, one client, warm; requests and writes in interleaved blocks. Writes
benchmarks/results/index_sets-<portfolio>.json, targets and what was missed included.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from archzero_lab.errors import LabError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.insights import index_sizes
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.stats.estimates import hodges_lehmann, quantile
from archzero_lab.systems.arczero.cards.catalog import read_catalog
from archzero_lab.systems.arczero.portfolios import ARMS, choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.services import Serving, index_set_of, start_service
from archzero_lab.systems.driver import Driver
from benchmarks.index_questions import KINDS, Questions

BLOCKS = 8
REQUESTS = {"control": 1, "treatment": 3, "v2": 30}
"""Requests a block and kind: at least 200 of v2 for its p95; the others take seconds, their medians must do."""
WRITES = 1_000
TARGET_MS = {"list": 10.0, "filter": 10.0, "search": 60.0, "detail": 5.0, "relationships": 5.0, "graph": 50.0}


def read_times(
    urls: dict[str, str], questions: Questions, slowest: dict[str, str]
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of every request, by kind and arm; the same questions first in each arm of a block.

    `slowest` gets the request of each kind that v2 took longest for.
    """
    drivers = {arm: Driver(url) for arm, url in urls.items()}
    times: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in KINDS}
    rng = random.Random(1)
    for block in range(BLOCKS + 1):  # the first warms up
        for kind in KINDS:
            paths = [questions.path(kind) for _ in range(max(REQUESTS.values()))]
            for arm in rng.sample(list(drivers), len(drivers)):
                for path in paths[: REQUESTS[arm]]:
                    took_s, status, body = drivers[arm].get(path)
                    if status not in (200, 503):  # 503: it took longer than the service's 30 s, and is told as that
                        raise LabError(f"{arm}: GET {path}: {status} {body[:100]!r}")
                    if block:
                        times[kind][arm].append(took_s * 1000)
                        if arm == "v2" and took_s * 1000 == max(times[kind][arm]):
                            slowest[kind] = path
    for driver in drivers.values():
        driver.close()
    return times


class Writer:
    """Rows a second into one database: single-row statements, 100 a transaction, what GIN put off included.

    Without the outbox's triggers unless asked for: what they cost (the names of all that an insert may change) is the
    cache's, the same in every arm, and more than the indexes'.
    """

    def __init__(self, url: str) -> None:
        self._connection = connect(url)
        self._told: bool | None = None
        self._gin = [
            row[0]
            for row in self._connection.execute(
                "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
                " JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'gin' AND indrelid > 16384"
            )
        ]
        self._fold = bool(self._connection.execute("SELECT to_regproc('card_changes_fold') IS NOT NULL").fetchone()[0])  # type: ignore[index]
        self._connection.commit()

    def rate(self, statement: str, rows: list[tuple[Any, ...]], *, told: bool = False) -> float:
        """Rows a second; with `told` the outbox hears of each."""
        if told != self._told:
            how = "ENABLE" if told else "DISABLE"
            self._connection.execute(f"ALTER TABLE cards {how} TRIGGER cards_inserted, {how} TRIGGER cards_updated")
            self._connection.commit()
            self._told = told
        began = time.perf_counter()
        with self._connection.cursor() as cursor:
            for first in range(0, len(rows), 100):
                cursor.executemany(statement, rows[first : first + 100])
                self._connection.commit()
            if self._fold:
                cursor.execute("SELECT card_changes_fold()")
            for index in self._gin:
                cursor.execute("SELECT gin_clean_pending_list(%s::regclass)", [index])
            self._connection.commit()
        return len(rows) / (time.perf_counter() - began)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


INSERT = (
    "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description, owner_id, created_at, tags,"
    " attributes) VALUES (%s, %s, %s, %s, %s, %s, now(), %s, %s)"
)
UPDATES = {
    "update of quality": "UPDATE cards SET quality_score = %s, version = version + 1, updated_at = now() WHERE id = %s",
    "update of description": "UPDATE cards SET description = description || %s::text, version = version + 1,"
    " updated_at = now() WHERE id = %s",
}


def write_rates(urls: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Rows a second by kind of write and arm, a value a block; every arm of a block writes the same rows."""
    writers = {arm: Writer(url) for arm, url in urls.items()}
    rates: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rng = random.Random(2)
    with connect(urls["control"]) as connection:
        rows = connection.execute(
            "SELECT name, type, lifecycle_phase, quality_score, description, owner_id, tags::text, attributes::text, id"
            " FROM cards TABLESAMPLE SYSTEM (20) REPEATABLE (2) LIMIT 20000"
        ).fetchall()
    rng.shuffle(rows)
    for block in range(BLOCKS + 1):
        taken = [rows[(block * WRITES + number) % len(rows)] for number in range(WRITES)]
        new = [(f"{row[0][:200]} n{block}-{number}", *row[1:8]) for number, row in enumerate(taken)]
        values: dict[str, list[tuple[Any, ...]]] = {
            "insert": new,
            "insert, outbox too": [(f"{row[0][:240]} told", *row[1:]) for row in new],
            "update of quality": [(rng.randint(0, 100), row[8]) for row in taken],
            "update of description": [(" changed", row[8]) for row in taken],
        }
        for kind, given in values.items():
            for arm in rng.sample(list(writers), len(writers)):
                rate = writers[arm].rate(UPDATES.get(kind, INSERT), given, told="outbox" in kind)
                if block:
                    rates[kind][arm].append(rate)
    for writer in writers.values():
        writer.close()
    return rates


def judged(
    times: dict[str, dict[str, list[float]]],
    rates: dict[str, dict[str, list[float]]],
    sizes: dict[str, int],
    tables: int,
) -> dict[str, Any]:
    """What came out against the targets."""
    reads = {}
    for kind, by_arm in times.items():
        target = TARGET_MS[kind.split(":")[0]]
        p95 = quantile(by_arm["v2"], 0.95)
        reads[kind] = {
            **{f"{arm}_p50_ms": round(quantile(values, 0.5), 2) for arm, values in by_arm.items()},
            "treatment_p95_ms": round(quantile(by_arm["treatment"], 0.95), 2),
            "v2_p95_ms": round(p95, 2),
            "v2_worst_ms": round(max(by_arm["v2"]), 1),
            "requests": {arm: len(values) for arm, values in by_arm.items()},
            "target_ms": target,
            "met": p95 <= target,
        }
    writes = {}
    for kind, by_arm in rates.items():
        ratio = hodges_lehmann(np.log(np.array(by_arm["v2"]) / np.array(by_arm["treatment"])))
        low, high = float(np.exp(ratio.low)), float(np.exp(ratio.high))
        writes[kind] = {
            **{f"{arm}_per_s": round(float(np.median(values))) for arm, values in by_arm.items()},
            "v2_to_phase_5": round(float(np.exp(ratio.estimate)), 2),
            "ci": [round(low, 2), round(high, 2)],
            "target": 2.0,
            "met": low >= 2.0,
        }
    added = {arm: size - sizes["control"] for arm, size in sizes.items() if arm != "control"}
    share = added["v2"] / added["treatment"]
    # the vocabulary and the counts are there for reading alone: told beside, as they weigh too
    weight = {"indexes_mb": {arm: round(size / 1e6) for arm, size in added.items()}, "share": round(share, 3),
              "v2_tables_mb": round(tables / 1e6, 1),
              "share_with_tables": round((added["v2"] + tables) / added["treatment"], 3),
              "target": 0.5, "met": share <= 0.5}  # fmt: skip
    return {"reads": reads, "writes": writes, "sizes": weight}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cards", type=int, default=1_000_000)
    parser.add_argument("--inventory", type=Path)
    parser.add_argument("--relationships", type=Path)
    given = parser.parse_args()
    portfolio = choose_portfolio(given.cards, 1, given.inventory, given.relationships)
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        base = ensure_base(stack, portfolio, lambda share: None)
        urls = make_arms(stack, base, "bench", lambda name, done, total: print(f"{done}/{total} {name}"), ARMS)
        services = {
            arm: start_service(
                stack,
                Serving(f"bench-{arm}", urls[arm], cached=False, index_set=index_set_of(arm), patient=True),
            )
            for arm in ARMS
        }
        try:
            with connect(urls["control"]) as connection:
                questions = Questions(connection, read_catalog(connection, 1), 1)
            sizes, tables = {}, 0
            for arm, url in urls.items():
                with connect(url) as connection:
                    row = connection.execute(
                        "SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM pg_class c WHERE relkind = 'r' AND relname"
                        " IN ('card_vocabulary', 'card_counts', 'card_changes', 'card_words_gone')"
                    ).fetchone()
                    tables += int(row[0] if row else 0)
                    sizes[arm] = sum(index.bytes for index in index_sizes(connection))
            slowest: dict[str, str] = {}
            times = read_times({arm: service.url for arm, service in services.items()}, questions, slowest)
            rates = write_rates(urls)
        finally:
            for service in services.values():
                stack.registry.stop(service.record)
            environment = describe(stack)
            drop_arms(stack, "bench")
    found = judged(times, rates, sizes, tables)
    for kind, path in slowest.items():
        found["reads"][kind]["v2_slowest"] = path
    told = {"date": dt.date.today().isoformat(), "portfolio": base.label, "environment": environment, **found}
    name = "generated" if given.inventory is None else given.inventory.name.split(".")[0]
    result = ROOT / "benchmarks" / "results" / f"index_sets-{name}.json"
    result.write_text(json.dumps(told, indent=1) + "\n")
    for kind, row in found["reads"].items():
        print(f"{kind:36} none {row['control_p50_ms']:8.1f}  phase 5 {row['treatment_p50_ms']:8.1f}  v2 p50"
              f" {row['v2_p50_ms']:6.1f} p95 {row['v2_p95_ms']:6.1f} worst {row['v2_worst_ms']:6.1f} ms "
              f" {'met' if row['met'] else 'MISSED'}")  # fmt: skip
    print(json.dumps({"writes": found["writes"], "sizes": found["sizes"]}, indent=1))


if __name__ == "__main__":
    main()
