"""What `gate --work` finds: changes made to a shop, each to be found by name, and none where none was made.

    PYTHONPATH=. python benchmarks/work_mutations.py [--runs 50] [--only NAME]

The service is benchmarks/work_shop. A run of the same code is held against the baseline `--runs` times, half of them
beside two busy loops a core: each of its numbers is a comparison, and a difference a false alarm.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from archzero_lab.bootstrap.system import card_service
from archzero_lab.jobs.work.baseline import Baseline, Tolerance, to_toml
from archzero_lab.jobs.work.counted import Counted, CountedPass
from archzero_lab.jobs.work.measure import WorkRequest, count_work
from archzero_lab.jobs.work.verdict import judge_work
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.run_folders.gate import PASS
from archzero_lab.servers.counting_stack import counting_stack
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import load_settings
from archzero_lab.systems.team.project_file import read_project
from archzero_lab.systems.team.system import TeamSystem

SHOP = Path(__file__).with_name("work_shop")
RESULT = Path(__file__).with_name("results") / "work_mutations.json"


@dataclass(frozen=True)
class Mutation:
    """A change: a text of app.py in place of another, or more SQL in the migration; the request that it is found in."""

    name: str
    request: str
    old: str = ""
    new: str = ""
    sql: str = ""


def mutations() -> list[Mutation]:
    """All changes, as the file beside the shop has them."""
    tables = tomllib.loads((SHOP / "mutations.toml").read_text())
    return [Mutation(**table) for table in tables["mutations"]]


def count(stack: Stack, mutation: Mutation | None) -> Counted:
    """The shop with a mutation, counted."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "shop"
        shutil.copytree(SHOP, tree)
        if mutation is not None and mutation.old:
            code = (tree / "app.py").read_text()
            assert mutation.old in code, mutation.name
            (tree / "app.py").write_text(code.replace(mutation.old, mutation.new))
        if mutation is not None and mutation.sql:
            (tree / "migration.sql").write_text(mutation.sql + ";\n")
        system = TeamSystem(read_project(tree / "archzero.toml")).of_builds(".", ".")
        with counting_stack(load_settings()) as counting:
            return count_work(system, counting, WorkRequest("candidate", 0))


def numbers(counted: Counted) -> int:
    """How many numbers a count holds."""

    def of(one: CountedPass | None) -> int:
        if one is None:
            return 0
        plans = sum(len(statement.plans) for statement in one.statements.values())
        return 4 * len(one.statements) + plans + 4 * len(one.redis) + len(one.wal) + 2

    return sum(of(kind.first) + of(kind.again) for kind in counted.kinds.values())


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many busy loops while the block runs."""
    processes = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(loops)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    os.environ["PYTHON"] = sys.executable
    with exclusive("work"), running_stack(load_settings()) as stack:
        name = stack.database_name("mutated")
        os.environ["DATABASE_URL"] = create_database(stack.postgres_url, name)
        try:
            with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
                connection.execute((SHOP / "seed.sql").read_bytes())
            result = run(stack, asked.runs, asked.only)
        finally:
            drop_database(stack.postgres_url, name)
    if not asked.only:
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def run(stack: Stack, runs: int, only: str) -> dict[str, object]:
    base = count(stack, None)
    baseline = Baseline(base, Tolerance())
    print(f"{len(to_toml(base, Tolerance()))} bytes, {numbers(base)} numbers")
    found = []
    for mutation in mutations():
        if only and only not in mutation.name:
            continue
        began = time.monotonic()
        told = judge_work(baseline, count(stack, mutation), Path("work.toml"), "here")
        seconds = time.monotonic() - began
        findings = [one for one in told.outcomes if not one.said.startswith("as it was")]
        named = [one for one in findings if one.name.startswith(mutation.request)]
        others = {one.name.partition(":")[0].partition(",")[0] for one in findings} - {mutation.request}
        said = f"{named[0].name}: {named[0].said}" if named else ""
        found.append(
            {"mutation": mutation.name, "found": bool(named), "result": told.result, "seconds": round(seconds, 1),
             "said": said, "elsewhere": sorted(others)}
        )  # fmt: skip
        mark = "found" if named else "MISSED"
        print(f"{mark:<6} {told.result:<12} {seconds:4.1f} s {mutation.name}: {said}", sorted(others), flush=True)
    print(f"{sum(row['found'] for row in found)} of {len(found)} found")
    if only:
        return {}
    same = {
        "shop": same_code(base, runs, lambda: count(stack, None)),
        "card service": same_code(count_cards(), runs, count_cards),
    }
    return {"mutations": found, "same code": same}


def count_cards() -> Counted:
    """The card service with its cache, counted."""
    with counting_stack(load_settings()) as counting:
        return count_work(card_service(), counting, WorkRequest("treatment", 20_000))


def same_code(base: Counted, runs: int, again: Callable[[], Counted]) -> dict[str, object]:
    """The same code so often again, every second time beside two busy loops a core."""
    alarms: list[list[str]] = []
    began = time.monotonic()
    for number in range(runs):
        with busy(2 * (os.cpu_count() or 2) if number % 2 else 0):
            told = judge_work(Baseline(base, Tolerance()), again(), Path("work.toml"), "here")
        findings = [f"{one.name}: {one.said}" for one in told.outcomes if not one.said.startswith("as it was")]
        if told.result != PASS or findings:
            alarms.append(findings)
            print("FALSE", findings, flush=True)
    compared, seconds = runs * numbers(base), round((time.monotonic() - began) / runs, 1)
    size = len(to_toml(base, Tolerance()).encode())
    print(f"{base.system}: {len(alarms)} of {runs} runs with an alarm, {compared} numbers, {seconds} s, {size} bytes")
    return {"runs": runs, "compared": compared, "false_alarms": alarms, "seconds": seconds, "bytes": size}


if __name__ == "__main__":
    main()
