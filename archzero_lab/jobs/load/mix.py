"""The mix of what people do, driven by Locust against both arms in turn: hit rate, memory and latency by block."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from archzero_lab.errors import MeasurementError
from archzero_lab.experiments.mix import LoadResult
from archzero_lab.experiments.schedule import schedule
from archzero_lab.extras import require
from archzero_lab.jobs.load.counters_server import serve_counters
from archzero_lab.jobs.load.request import LOADTESTS, check_arms
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.child_environment import child_environment
from archzero_lab.servers.process import ProcessRecord, has_ended, tail
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Arm, NotReset
from archzero_lab.systems.profiles import Profile
from archzero_lab.systems.system import Prepared, System

MB = 1_000_000
_TOTALS = ("hits", "misses", "reloads", "needless_reloads", "statements", "database_s")
"""Of an arm's counters, those that only grow; nan where it does not tell one."""


def measure_mix(
    system: System,
    stack: Stack,
    run: Run,
    prepared: Prepared,
    arms: Mapping[str, Arm],
    profile: Profile,
    seed: int,
    progress: Callable[[float], None],
) -> LoadResult:
    """Run the load, read it back and keep it. Raises MeasurementError where Locust fails or an answer was wrong.

    Each cache is warmed by a first slot that is not analysed, then goes on from block to block, as in production.
    """
    require("locust", "a load")
    check_arms(system, list(arms))
    folder = run.path
    values = folder / "catalog.json"
    values.write_text(prepared.load_values(list(arms)))
    for arm in arms.values():
        with suppress(NotReset):  # a first slot that nobody counts fills it anyway
            arm.reset()
    slots: list[dict[str, Any]] = [
        *(
            {"arm": name, "block": -1, "seconds": profile.load_warm_up_s, "measured": False}
            for name in arms
            if system.arms[name].cached
        ),
        *(
            {"arm": slot.arm, "block": slot.block, "seconds": profile.load_slot_s, "measured": True}
            for slot in schedule(list(arms), profile.load_blocks, seed)
        ),
    ]
    plan, out, log = folder / "load-plan.json", folder / "load-raw.json", folder / "locust.log"
    seconds = sum(float(slot["seconds"]) for slot in slots)
    with serve_counters({name: partial(prepared.mix_counters, arm) for name, arm in arms.items()}) as serving:
        counters, failed = serving
        hosts = {name: arm.url for name, arm in arms.items()}
        plan.write_text(
            json.dumps({"hosts": hosts, "counters": counters, "think_time_s": system.think_time_s, "slots": slots,
                        "out": str(out)})
        )  # fmt: skip
        record = stack.registry.spawn(
            "locust",
            [
                sys.executable, "-m", "locust", "-f", str(LOADTESTS / "paired.py"), "--headless",
                "--users", str(profile.load_users), "--spawn-rate", str(profile.load_users), "--only-summary",
                "--loglevel", "WARNING", "--exit-code-on-error", "0", "--stop-timeout", "60",
            ],
            log=log,
            env={
                **child_environment(),
                "ARCHZERO_PAIRED_PLAN": str(plan),
                "ARCHZERO_PAIRED_HEADERS": json.dumps(
                    {name: prepared.load_environment(arm).get("ARCHZERO_LOAD_HEADERS") for name, arm in arms.items()}
                ),
                "ARCHZERO_CATALOG": str(values),
                "ARCHZERO_SEED": str(seed),
            },
            cwd=LOADTESTS,
        )  # fmt: skip
        try:
            _wait(record, seconds, progress)
        finally:
            stack.registry.stop(record)
    if failed:
        raise MeasurementError(f"the load ended: counters could not be read: {failed[-1]}")
    if not out.exists():
        raise MeasurementError(f"Locust ended without a result: {tail(log, 3)} (whole log: {log.name})")
    result = _read(out, system.mix)
    run.keep_load(result.requests, result.slots, result.described)
    return result


def _wait(record: ProcessRecord, seconds: float, progress: Callable[[float], None]) -> None:
    waited, step = 0.0, 0.5
    while not has_ended(record):
        if waited > seconds * 4 + 60:
            raise MeasurementError("Locust did not end in four times its planned time; see locust.log of the run")
        time.sleep(step)
        waited += step
        progress(min(0.99, waited / (seconds + 4)))


def _read(path: Path, mix: str) -> LoadResult:
    raw = json.loads(path.read_text())
    rows, slots = [], []
    failures: list[str] = []
    for at, name, response_ms, ok, reason in raw["requests"]:
        slot = raw["slots"][at]
        if slot["measured"]:
            rows.append(
                {"block": slot["block"], "arm": slot["arm"], "name": name, "response_ms": response_ms, "ok": ok}
            )
            if not ok:
                failures.append(f"{name}: {reason}")
    unavailable = sum(reason.endswith("status 503") for reason in failures)
    if len(failures) > unavailable:
        raise MeasurementError(
            f"{len(failures)} of {len(rows)} requests of the load failed, first: {_first_wrong(failures)}; "
            "a wrong answer is no measurement (see locust.log of the run)"
        )
    for slot in raw["slots"]:
        if slot["measured"]:
            before, after = slot["before"], slot["after"]
            row = {"block": slot["block"], "arm": slot["arm"], "seconds": slot["ended"] - slot["began"]}
            for name in _TOTALS:
                then, now = before.get(name), after.get(name)
                row[name] = float("nan") if then is None or now is None else now - then
            row |= {
                "used_memory_mb": after.get("used_memory_bytes", 0) / MB,
                "keys": after.get("keys", 0),
                "evicted_keys": after.get("evicted_keys", 0),
            }
            for kind, counts in after.get("by_kind", {}).items():
                for outcome in ("hits", "misses"):
                    row[f"{kind}_{outcome}"] = counts[outcome] - before["by_kind"][kind][outcome]
            slots.append(row)
    path.unlink()
    described = f"{len(rows):,} requests, {mix}"
    if unavailable:
        described += f"; {unavailable} of them were answered 503, too slow for this load"
    return LoadResult(pd.DataFrame(rows), pd.DataFrame(slots), described)


def _first_wrong(failures: list[str]) -> str:
    return next(reason for reason in failures if not reason.endswith("status 503"))
