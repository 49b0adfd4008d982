"""A load's result as JSON holds it: totals after the warm-up, every second, every block; whether it may be believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pace
from levels import LEVELS
from recorder import RECORDER, Second

BLOCK_S = 5
"""Validity is judged by blocks of so many seconds."""
LATE_S, LATE_SHARE = 0.005, 0.1
"""The generator is late where p99 of its lateness passes both 5 ms and a tenth of the response time's p99."""
BUSY_PERCENT = 90.0
"""From so much of a core on, the generator is what is measured."""
INVALID_BLOCKS = 0.1
"""A run with more invalid blocks than this share is invalid as a whole."""


def result(environment: Any, workload: str, shape: str) -> dict[str, Any]:
    """The run as JSON holds it: totals after the warm-up, every second, every block, and whether it is valid."""
    recorder = RECORDER
    moments = [at for at, second in recorder.seconds.items() if second.counts["done"] or second.counts["offered"]]
    # users end a moment after the run's time, whenever Locust gets to it
    end = min(max(moments, default=0) + 1, pace.CURRENT.duration_s)
    if workload == "open" and shape in LEVELS and pace.CURRENT.ended_s is not None:
        end = _whole(pace.CURRENT.ended_s)  # what was to be sent until then counts, sent or not
    seconds_of = range(int(end))
    start = int(recorder.warm_up_s)
    analysed = [at for at in seconds_of if at >= start]
    total = _over(analysed)
    seconds = max(len(analysed), 1)
    blocks = [_block(number, _over(analysed[at : at + BLOCK_S]), workload)
              for number, at in enumerate(range(0, len(analysed), BLOCK_S))]  # fmt: skip
    searching = shape == "capacity"  # drives the service beyond what it can do, on purpose; each trial is judged alone
    reasons = [] if searching else [reason for block in blocks for reason in block["reasons"]]
    bad = sum(bool(block["reasons"]) for block in blocks)
    planned = _planned(analysed, workload, shape)
    lost = [*recorder.lost, *_not_sent(planned, total.counts["offered"])]
    valid = bool(total.counts["done"]) and not lost and (searching or bad <= INVALID_BLOCKS * len(blocks))
    reasons = lost + reasons
    if not total.counts["done"]:
        reasons.append("nothing was answered")
    offered = (total.counts["offered"] if planned is None else planned) if workload == "open" else None
    return {
        "host": environment.host,
        "workload": workload,
        "shape": shape,
        "warm_up_s": start,
        "began": pace.CURRENT.origin,
        "seconds": seconds,
        "offered_rate_per_s": None if offered is None else round(offered / seconds, 3),
        "achieved_rate_per_s": round(total.counts["done"] / seconds, 3),
        "requests": total.counts["done"],
        "failures": total.counts["failed"],
        "dropped": total.counts["dropped"],
        "response_time_s": total.times["response"].summary(),
        "service_time_s": total.times["service"].summary(),
        "lateness_s": {name: value for name, value in total.times["late"].summary().items() if name in ("p50", "p99")},
        "valid": valid,
        "reasons": reasons + recorder.notes,
        "failed_because": dict(sorted(recorder.failures.items(), key=lambda item: -item[1])[:20]),
        "actions": {
            name: {"requests": action.counts["done"], "failures": action.counts["failed"],
                   "response_time_s": action.times["response"].summary()}
            for name, action in sorted(recorder.actions.items())
        },
        "blocks": blocks,
        "trials": recorder.trials,
        "capacity": recorder.capacity,
        "by_second": [_second_entry(at, recorder.seconds.get(at, Second())) for at in seconds_of],
    }  # fmt: skip


def _whole(ended_s: float) -> float:
    """Seconds of a run that ended at a moment: Locust ends one a little before its time or after it."""
    return pace.CURRENT.duration_s if ended_s > pace.CURRENT.duration_s - 1 else float(int(ended_s))


def _planned(seconds: list[int], workload: str, shape: str) -> float | None:
    """Requests that were to be sent in these seconds by the pace; None where a log or a search sets it."""
    if workload != "open" or shape not in LEVELS:
        return None
    return sum(pace.CURRENT.planned(at) for at in seconds)


def _not_sent(planned: float | None, begun: int) -> list[str]:
    """A generator that began fewer than it was to: more than chance (arrivals are Poisson) or a twentieth explains."""
    if planned is None or begun >= planned - max(0.05 * planned, 4 * planned**0.5, 2):
        return []
    return [f"{planned:.0f} requests were to be sent and {begun} were: a part of the generator was lost or fell behind"]


def reasons_of(found: Second, workload: str) -> list[str]:
    """Why the generator, not the service, may be what was measured."""
    reasons = generator_reasons(found, workload)
    if found.counts["dropped"]:
        reasons.append(f"the generator dropped {found.counts['dropped']} requests: too many were unanswered")
    return reasons


def generator_reasons(found: Second, workload: str) -> list[str]:
    """What of it is the generator's own doing; it drops only what a service left unanswered."""
    reasons = []
    late, response = found.times["late"].quantile(0.99), found.times["response"].quantile(0.99)
    if workload == "open" and late is not None and response is not None and late > max(LATE_S, LATE_SHARE * response):
        reasons.append(f"the generator was late (p99 {late * 1000:.0f} ms)")
    busy = max(found.cpu.values(), default=0.0)
    if busy > BUSY_PERCENT:
        reasons.append(f"Locust is the bottleneck ({busy:.0f} % of a core)")
    return reasons


def _block(number: int, found: Second, workload: str) -> dict[str, Any]:
    return {
        "block": number,
        "requests": found.counts["done"],
        "failures": found.counts["failed"],
        "response_p99_s": found.times["response"].quantile(0.99),
        "late_p99_s": found.times["late"].quantile(0.99),
        "generator_cpu_percent": max(found.cpu.values(), default=None),
        "reasons": [f"block {number}: {reason}" for reason in reasons_of(found, workload)],
    }


def _second_entry(at: int, second: Second) -> dict[str, Any]:
    response, service = second.times["response"], second.times["service"]
    return {
        "t_s": at,
        **second.counts,
        **{f"response_{name}_s": value for name, value in response.summary().items()},
        "service_p50_s": service.quantile(0.5),
        "service_p99_s": service.quantile(0.99),
        "late_p99_s": second.times["late"].quantile(0.99),
        "generator_cpu_percent": sum(second.cpu.values()) or None,
        "generator_rss_bytes": sum(second.rss.values()) or None,
    }


def write(path: str, found: dict[str, Any]) -> None:
    """Write a result in one step."""
    partial = Path(path).with_suffix(".part")
    partial.write_text(json.dumps(found))
    partial.replace(path)


def _over(numbers: list[int]) -> Second:
    found = Second()
    for at in numbers:
        if at in RECORDER.seconds:
            found.merge(RECORDER.seconds[at])
    return found
