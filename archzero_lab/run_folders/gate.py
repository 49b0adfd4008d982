"""The gate: rules over a finished run, alone or against a baseline: pass, regression or inconclusive."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from archzero_lab.errors import SettingsError
from archzero_lab.run_folders.run import Run
from archzero_lab.run_folders.series import Row, compare_runs, yardstick_ratio
from archzero_lab.stats.estimates import hodges_lehmann

MAX_REGRESSION = 0.10
YARDSTICK_TOLD = 0.05
PASS, REGRESSION, INCONCLUSIVE = "pass", "regression", "inconclusive"
EXIT = {PASS: 0, REGRESSION: 1, INCONCLUSIVE: 3}


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of `[[gate.rules]]`: exactly one of its last three is given. `arm` None means every arm of the claim.

    [[gate.rules]]
    claim = "card_list_cached"
    arm = "treatment"
    metric = "p95"
    max_ms = 5.0                # absolute
    # max_regression = 0.05    # 5 % over the baseline of --against
    # verdict = "confirmed"    # what the run says of the claim
    """

    claim: str
    arm: str | None = None
    metric: Literal["p50", "p95", "p99", "mean"] = "p50"
    max_ms: float | None = None
    max_regression: float | None = None
    verdict: Literal["confirmed", "refuted", "inconclusive"] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a rule came to. `said` names value, interval and threshold; `line` is where a file holds what was wanted."""

    name: str
    result: str
    said: str
    line: int = 0


@dataclass(frozen=True)
class GateResult:
    """All outcomes and the one that counts: a regression before an inconclusive before a pass.

    `file` is one that holds what was wanted, "" where none does. `sight`: how small a difference can be seen at all.
    """

    run: str
    against: str | None
    outcomes: list[Outcome]
    warnings: list[str]
    file: str = ""
    sight: str = ""

    @property
    def result(self) -> str:
        """The whole gate's."""
        results = {outcome.result for outcome in self.outcomes}
        return next((worst for worst in (REGRESSION, INCONCLUSIVE) if worst in results), PASS)


def read_rules(path: Path) -> list[Rule]:
    """The rules of a TOML file's [gate] table; none where the file has no such table.

    Raises SettingsError with the rule and the field that is wrong.
    """
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file that can be read") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}; mend the line and run again") from None
    rules = []
    for number, entry in enumerate(table.get("gate", {}).get("rules", ()), 1):
        try:
            rule = msgspec.convert(entry, Rule)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{path.name}: gate rule {number}: {error}") from None
        given = [rule.max_ms, rule.max_regression, rule.verdict]
        if sum(value is not None for value in given) != 1:
            raise SettingsError(f"{path.name}: gate rule {number}: give one of max_ms, max_regression and verdict")
        rules.append(rule)
    return rules


def run_gate(
    run: Run,
    against: Run | None,
    rules: Sequence[Rule],
    margins: Mapping[tuple[str, str, str], float] | None = None,
) -> GateResult:
    """Apply the rules; without any, no series of `against` may be slower by more than MAX_REGRESSION.

    A rule about something that the run did not measure is a regression: a gate that cannot see must not be open.
    Raises SettingsError where there is nothing to hold the run against.
    """
    rows = compare_runs(against, run, margins) if against is not None else []
    warnings: list[str] = []
    if not run.series and not any(claim["measured"]["blocks"] for claim in run.summary.get("claims", ())):
        return GateResult(run.id, against.id if against else None, [_unmeasured("the run")], warnings)
    yardstick = yardstick_ratio(against, run) if against is not None else None
    if yardstick is not None and abs(yardstick - 1) > YARDSTICK_TOLD:
        warnings.append(f"the machine's yardstick, which is no code of ours, moved by {yardstick - 1:+.0%}")
    common = _common_shift(rows)
    if common is not None:
        warnings.append(
            f"almost everything moved by {common - 1:+.0%} at once: the machine, or all of the code; a run of the "
            "baseline on this machine now would tell"
        )
    machines = {one.summary.get("environment", {}).get("machine") for one in (run, against) if one is not None}
    slower = yardstick - 1 > YARDSTICK_TOLD if yardstick is not None else common is not None and common > 1
    doubt = (
        "the runs are of two machines" if len(machines - {None}) > 1 else "it may be the machine's" if slower else ""
    )
    if not rules:
        if against is None:
            raise SettingsError("nothing to hold the run against: name --against RUN, or --rules with [[gate.rules]]")
        outcomes = [_regression(row, MAX_REGRESSION, doubt) for row in rows if row.metric == "p50"]
        missing = sorted({key for key in against.series if key[2] == "p50"} - set(run.series))
        outcomes += [_unmeasured(" / ".join(key)) for key in missing]
    else:
        outcomes = [outcome for rule in rules for outcome in _apply(rule, run, against, rows, doubt)]
    sight = _sight(against, run, rows, margins or {}) if against is not None else ""
    return GateResult(
        run.id, against.id if against else None, outcomes or [_unmeasured("the run")], warnings, sight=sight
    )


def _sight(before: Run, after: Run, rows: list[Row], margins: Mapping[tuple[str, str, str], float]) -> str:
    """How small a difference of time can be seen between two runs, and what sees smaller ones."""
    finer = "gate --build measures both codes in one run, gate --work counts what they do"
    machines = {run.summary.get("environment", {}).get("machine") for run in (before, after)}
    if len(machines) > 1:
        return f"the runs are of two machines: no difference of time between them is the code's alone; {finer}"
    seen = [row.margin for row in rows if row.metric == "p50"]
    if not seen:
        return ""
    known = sum((row.claim, row.arm, row.metric) in margins for row in rows if row.metric == "p50")
    least, most = f"{min(seen):.0%}", f"{max(seen):.0%}"
    size = least if least == most else f"{least} to {most}, by series,"
    whence = (
        "by its history of this machine" if known else "this machine has no history of one code yet, so that is a guess"
    )
    return f"between these two runs less than {size} cannot be seen ({whence}); {finer}"


def _apply(rule: Rule, run: Run, against: Run | None, rows: list[Row], doubt: str) -> list[Outcome]:
    if rule.verdict is not None:
        judged = next((claim for claim in run.summary["claims"] if claim["id"] == rule.claim), None)
        if judged is None:
            return [_unmeasured(rule.claim)]
        result = PASS if judged["verdict"] == rule.verdict else REGRESSION
        if result is REGRESSION and judged["verdict"] == "inconclusive":
            result = INCONCLUSIVE
        return [Outcome(f"{rule.claim} / verdict", result, f"{judged['verdict']}, wanted {rule.verdict}")]
    wanted = [
        key for key in run.series if key[0] == rule.claim and key[2] == rule.metric and rule.arm in (None, key[1])
    ]
    if not wanted:
        return [_unmeasured(f"{rule.claim} / {rule.arm or 'any arm'} / {rule.metric}")]
    if rule.max_ms is not None:
        return [_absolute(" / ".join(key), run.series[key], rule.max_ms) for key in wanted]
    if against is None:
        raise SettingsError(f"the rule on {rule.claim} is relative to a baseline: name one with --against RUN")
    assert rule.max_regression is not None
    of_rule = [row for row in rows if (row.claim, row.arm, row.metric) in wanted]
    judged = [_regression(row, rule.max_regression, doubt) for row in of_rule]
    return judged or [_unmeasured(f"{rule.claim} in the baseline")]


def _regression(row: Row, most: float, doubt: str) -> Outcome:
    """By the whole interval, against the rule or this machine's own spread between runs, whichever is larger.

    In `doubt` of the machine no time is a regression: it is not the code's alone.
    """
    allowed = max(most, row.margin)
    own = ", this machine's own spread between runs" if row.margin > most else ""
    outcome = judge_ratio(row.name, row.before, row.after, row.ratio, row.ci_low, row.ci_high, allowed)
    said = outcome.said + own + (f"; {row.note}" if row.note else "")
    if doubt and outcome.result == REGRESSION:
        return Outcome(outcome.name, INCONCLUSIVE, f"{said}; {doubt}")
    return Outcome(outcome.name, outcome.result, said)


def judge_ratio(
    name: str, before_ms: float, after_ms: float, ratio: float, low: float, high: float, most: float
) -> Outcome:
    """A ratio after / before with its interval against the most that it may be over 1."""
    interval = f"{ratio:.3f} ({low:.3f} to {high:.3f})"
    said = f"{before_ms:.3g} -> {after_ms:.3g} ms, a factor of {interval}, at most {1 + most:.2f}"
    result = REGRESSION if low > 1 + most else PASS if high <= 1 + most else INCONCLUSIVE
    return Outcome(name, result, said)


def _absolute(name: str, values: list[float], most_ms: float) -> Outcome:
    interval = hodges_lehmann(values)
    result = REGRESSION if interval.low > most_ms else PASS if interval.high <= most_ms else INCONCLUSIVE
    said = f"{interval.estimate:.3g} ms ({interval.low:.3g} to {interval.high:.3g}), at most {most_ms:g} ms"
    return Outcome(name, result, said)


def _unmeasured(what: str) -> Outcome:
    return Outcome(what, REGRESSION, "was not measured")


def _common_shift(rows: list[Row]) -> float | None:
    """The ratio by which four of five series or more moved the same way beyond their margins, or None."""
    ratios = np.array([row.ratio for row in rows if row.metric == "p50"])
    if ratios.size < 4:
        return None
    slower, faster = (ratios > 1.1).mean(), (ratios < 1 / 1.1).mean()
    return float(np.median(ratios)) if max(slower, faster) >= 0.8 else None
