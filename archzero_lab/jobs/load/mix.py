"""The mix of what people do, driven by Locust against both arms in turn: hit rate, memory and latency by block."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.errors import MeasurementError
from archzero_lab.experiments.schedule import schedule
from archzero_lab.servers.process import ProcessRecord, has_ended, tail
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.services import SERVICE_ARMS
from archzero_lab.systems.spec import Profile

MB = 1_000_000
_MIX = "1 edit in 100, cards by Zipf's law with exponent 1"
"""As loadtests/mix.py has it; tests/unit/test_loadtests.py holds the two together."""


@dataclass(frozen=True)
class LoadResult:
    """What the load measured. `requests`: block, arm, name, response_ms, ok. `slots`: a row a measured slot.

    `described` says in a phrase what mix it was and what could not be answered.
    """

    requests: pd.DataFrame
    slots: pd.DataFrame
    described: str

    def treatment(self, arm: str) -> pd.DataFrame:
        """The measured slots of one arm, in order of blocks."""
        return self.slots[self.slots["arm"] == arm].sort_values("block")

    def as_measured(self, claim_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Samples and slots as Measurements has them, with `ok` beside."""
        samples = self.requests.assign(claim=claim_id, service_time_s=self.requests["response_ms"] / 1000)
        sizes = self.requests.groupby(["block", "arm"]).size().rename("requests").reset_index()
        slots = self.slots.merge(sizes, on=["block", "arm"]).assign(
            claim=claim_id, blocks=np.nan, steal=0.0, yardstick_ms=np.nan
        )
        for counted in ("statements", "database_s"):
            if counted not in slots:
                slots[counted] = np.nan  # an older run did not ask
        return samples, slots


def run_load(
    stack: Stack,
    folder: Path,
    hosts: dict[str, str],
    profile: Profile,
    seed: int,
    catalog_path: Path,
    progress: Callable[[float], None],
) -> LoadResult:
    """Run the load and read it back. Raises MeasurementError where Locust ends otherwise or any answer was wrong.

    Each cache is warmed by a first slot that is not analysed, then goes on from block to block, as in production.
    """
    arms = list(hosts)
    slots: list[dict[str, Any]] = [
        *(
            {"arm": arm, "block": -1, "seconds": profile.load_warm_up_s, "measured": False}
            for arm in arms
            if SERVICE_ARMS[arm][1]
        ),
        *(
            {"arm": slot.arm, "block": slot.block, "seconds": profile.load_slot_s, "measured": True}
            for slot in schedule(arms, profile.load_blocks, seed)
        ),
    ]
    plan, out, log = folder / "load-plan.json", folder / "load-raw.json", folder / "locust.log"
    plan.write_text(json.dumps({"hosts": hosts, "slots": slots, "out": str(out)}))
    seconds = sum(float(slot["seconds"]) for slot in slots)
    record = stack.registry.spawn(
        "locust",
        [
            sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "paired.py"), "--headless",
            "--users", str(profile.load_users), "--spawn-rate", str(profile.load_users), "--only-summary",
            "--loglevel", "WARNING", "--exit-code-on-error", "0", "--stop-timeout", "60",
        ],
        log=log,
        env={
            **os.environ,
            "ARCHZERO_PAIRED_PLAN": str(plan),
            "ARCHZERO_CATALOG": str(catalog_path),
            "ARCHZERO_SEED": str(seed),
        },
        cwd=ROOT / "loadtests",
    )  # fmt: skip
    try:
        _wait(record, seconds, progress)
    finally:
        stack.registry.stop(record)
    if not out.exists():
        raise MeasurementError(f"Locust ended without a result: {tail(log, 3)} (whole log: {log.name})")
    return _read(out)


def _wait(record: ProcessRecord, seconds: float, progress: Callable[[float], None]) -> None:
    waited, step = 0.0, 0.5
    while not has_ended(record):
        if waited > seconds * 4 + 60:
            raise MeasurementError("Locust did not end in four times its planned time; see locust.log of the run")
        time.sleep(step)
        waited += step
        progress(min(0.99, waited / (seconds + 4)))


def _read(path: Path) -> LoadResult:
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
            before, after = slot["stats_before"], slot["stats_after"]
            row = {
                "block": slot["block"],
                "arm": slot["arm"],
                "seconds": slot["ended"] - slot["began"],
                "hits": after["hits"] - before["hits"],
                "misses": after["misses"] - before["misses"],
                "statements": after["statements"] - before["statements"],
                "database_s": after["database_s"] - before["database_s"],
                "used_memory_mb": slot["health"].get("used_memory_bytes", 0) / MB,
                "keys": slot["health"].get("keys", 0),
                "evicted_keys": slot["health"].get("evicted_keys", 0),
            }
            for kind, counts in after["by_kind"].items():
                for outcome in ("hits", "misses"):
                    row[f"{kind}_{outcome}"] = counts[outcome] - before["by_kind"][kind][outcome]
            slots.append(row)
    path.unlink()
    described = f"{len(rows):,} requests, {_MIX}"
    if unavailable:
        described += f"; {unavailable} of them were answered 503, too slow for this load"
    return LoadResult(pd.DataFrame(rows), pd.DataFrame(slots), described)


def _first_wrong(failures: list[str]) -> str:
    return next(reason for reason in failures if not reason.endswith("status 503"))
