"""An experiment of one's own kept as a run: its calls as samples, its verdict as a summary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from archzero_lab.errors import SettingsError
from archzero_lab.experiments.measurements import Measurements, Sample
from archzero_lab.experiments.own import OwnResult
from archzero_lab.run_folders.environment import describe_machine
from archzero_lab.run_folders.run import Run

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def save_own(name: str, result: OwnResult, times: Sequence[tuple[int, int, str, float]]) -> Path:
    """Write a run's folder of an experiment; `times` are (block, order, arm, seconds) of each call.

    Raises SettingsError for a name that is no word.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no name for a run: letters, digits, - and _")
    run = Run.new(name)
    whole = set(result.blocks["block"])
    samples = [Sample(name, block, order, arm, "", s, 0) for block, order, arm, s in times if block in whole]
    run.keep_measurements(Measurements(samples=samples))
    run.summary = {
        "run_id": run.path.name, "system": "own", "profile": "own", "size": None, "label": name, "claims": [],
        "environment": describe_machine(),
        "own": {
            "verdict": result.verdict.value, "metric": result.metric.name, "margin": result.margin,
            "effect_size": result.effect_size, "ci_low": result.ci_low, "ci_high": result.ci_high,
            "warnings": list(result.warnings),
        },
    }  # fmt: skip
    return run.path
