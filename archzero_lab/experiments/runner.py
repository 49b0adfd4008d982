"""Runs the slots of a schedule: reset, warm_up, timed requests; every arm of a block under the same requests."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping

import psutil

from archzero_lab.experiments.claims import NO_MECHANISM, Claim
from archzero_lab.experiments.measurements import Measurements, Sample, SlotRecord
from archzero_lab.experiments.schedule import Slot, schedule
from archzero_lab.systems.arms import Arm, NotReset
from archzero_lab.systems.operations import SlotOperations
from archzero_lab.systems.profiles import SlotSize

_AWAKE = 2
_REWARMED = 5


def run_claim(
    claim: Claim,
    arms: Mapping[str, Arm],
    operations_of: Callable[..., SlotOperations],
    size: SlotSize,
    blocks: int,
    seed: int,
    into: Measurements,
    progress: Callable[[], None] = lambda: None,
    yardstick: Callable[[], float] = lambda: math.nan,
    first: int = 0,
    controls: bool = False,
) -> None:
    """Measure one claim over `blocks` paired blocks, adding to `into`. `progress` is called after each slot.

    `operations_of` is systems.system.Prepared.operations: what a block asks, the same for each of its arms.

    `yardstick` gives the ms that the same little work takes, measured before and after each slot. Blocks before `first`
    have been measured already: a run goes on where it was, with the blocks that it would have had anyway. With
    `controls` each slot ends with the negative control's requests, which count for nothing else.

    Raises MeasurementError at the first wrong answer: a fast wrong answer is no measurement.
    """
    for slot in schedule(claim.arms, blocks, seed):
        if slot.block < first:
            continue
        arm = arms[slot.arm]
        operations = operations_of(
            claim.operations, distinct=size.distinct, requests=size.requests, seed=seed, block=slot.block,
            paths=claim.paths,
        )  # fmt: skip
        reset = True
        try:
            arm.reset()
        except NotReset:
            reset = False  # measured all the same, and told
        # a cache has to hold each of them, one that nobody counts too; a few bring processes back that were idle
        whole = claim.mechanism in ("hits", NO_MECHANISM)
        for operation in operations.warm_up if whole else operations.warm_up[:_AWAKE]:
            arm.ask(operation)
        load_1m, yardstick_before = os.getloadavg()[0], yardstick()
        before, cpu_before, began = arm.counters(), cpu_seconds(), time.perf_counter()
        for operation in operations.timed:
            elapsed_s, size_bytes = arm.ask(operation)
            into.samples.append(
                Sample(claim.id, slot.block, slot.order, slot.arm, operation.variant, elapsed_s, size_bytes)
            )
        seconds = time.perf_counter() - began
        counted, steal = arm.counters().since(before), steal_share(cpu_before, cpu_seconds())
        if controls:
            into.controls += _control(claim, slot, arm, operations)
        into.slots.append(
            SlotRecord(
                claim=claim.id,
                block=slot.block,
                order=slot.order,
                arm=slot.arm,
                requests=len(operations.timed),
                seconds=seconds,
                counters=counted,
                load_1m=load_1m,
                steal=steal,
                yardstick_ms=math.sqrt(yardstick_before * yardstick()),
                reset=reset,
            )
        )
        progress()


def _control(claim: Claim, slot: Slot, arm: Arm, operations: SlotOperations) -> list[Sample]:
    """The times of what the arms cannot differ in; the first requests bring back what the slot has pushed out."""
    for operation in operations.control[:_REWARMED]:
        arm.ask(operation)
    return [
        Sample(claim.id, slot.block, slot.order, slot.arm, operation.variant, *arm.ask(operation))
        for operation in operations.control
    ]


def cpu_seconds() -> tuple[float, float]:
    """(steal, all) CPU seconds since boot; a steal of 0 where the kernel does not count it."""
    times = psutil.cpu_times()
    # Linux counts a guest's time in user and nice already
    return getattr(times, "steal", 0.0), sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)


def steal_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The share of CPU time between two readings that the host gave to others."""
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total else 0.0
