"""What differences of work come to for a gate: more is a regression, less a pass, the rest is for a person."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from archzero_lab.jobs.work.baseline import Baseline
from archzero_lab.jobs.work.conditions import conditions
from archzero_lab.jobs.work.counted import Counted
from archzero_lab.jobs.work.differences import Difference, differences
from archzero_lab.run_folders.gate import INCONCLUSIVE, PASS, REGRESSION, GateResult, Outcome

_HEAD = re.compile(r"\[request\.(?!.*\.again\])")
_RESULTS = {"more": REGRESSION, "less": PASS, "otherwise": INCONCLUSIVE}


def judge_work(baseline: Baseline, counted: Counted, file: Path, candidate: str) -> GateResult:
    """Hold a count against a file's: an outcome a difference, and one a kind of request that is as it was."""
    changes = differences(baseline.counted, counted, baseline.tolerance)
    lines = _lines(file)
    outcomes = [
        Outcome(f"{one.where}: {one.what}", _RESULTS[one.result], one.said, lines.get(one.kind, 0))
        for one in _worst_first(changes)
    ]
    changed = {one.kind for one in changes}
    for name, kind in baseline.counted.kinds.items():
        if name not in changed and name in counted.kinds:
            said = f"as it was: {_number(kind.first.calls, 'statement')}, {_number(kind.first.blocks, 'block')}"
            of = "a typical request" if kind.writes else f"{kind.requests} requests"
            outcomes.append(Outcome(name, PASS, f"{said} of {of}"))
    return GateResult(candidate, file.name, outcomes, conditions(baseline.counted, counted), str(file))


def _lines(file: Path) -> dict[str, int]:
    """The line of the file at which each kind of request begins."""
    try:
        text = file.read_text()
    except OSError:
        return {}
    heads = ((number, tomllib.loads(line)) for number, line in enumerate(text.splitlines(), 1) if _HEAD.match(line))
    return {next(iter(head["request"])): number for number, head in heads}


def _worst_first(changed: list[Difference]) -> list[Difference]:
    order = {"more": 0, "otherwise": 1, "less": 2}
    return sorted(changed, key=lambda one: order[one.result])


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
