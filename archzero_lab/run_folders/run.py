"""A run: its folder, and every file in it by name. Whoever measures writes here, whoever judges or draws reads here.

A report measures (facts, claims, samples, slots, load, trials, plans, indexes, sizes), is judged (summary) and shown
(index.html, notebooks); a load, an index experiment and a sweep have a file of their own each.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.errors import LabError
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.settings import REPORTS, keep_out_of_git

SUMMARY = "summary.json"
LOADS = "loads.json"
INDEX_EXPERIMENT = "index_experiment.json"
PAGE = "index.html"
LATEST, LATEST_LOAD, LATEST_INDEXES = "latest", "latest-load", "latest-indexes"

_PROGRESS = "progress.json"
"""There while a run is not whole: what it was asked for and what of it is done."""
HIT_COSTS, WORK = "hit_costs.json", "work.json"
_FACTS, _CLAIMS, _TRIED, _UNLIKE = "facts.json", "claims.json", "tried.json", "unlike.json"
_SAMPLES, _SLOTS, _CONTROLS = "samples.parquet", "slots.parquet", "controls.parquet"
_STATEMENTS = "statements.parquet"
_LOAD, _LOAD_SLOTS, _LOAD_IN_WORDS = "load.parquet", "load_slots.parquet", "load.json"
_PLANS, _INDEXES, _SIZES = "plans.json", "indexes.json", "sizes.json"
_LOAD_SECONDS, _LOAD_RESOURCES, _LOAD_TRIALS = "load_seconds.parquet", "load_resources.parquet", "trials.parquet"
_SWEEP = "sweep.parquet"


class _JsonFile:
    """A JSON file of a run as an attribute: read when it is asked for, written whole or not at all."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: Run, _: type[Run]) -> Any:
        return run._json(self._name)

    def __set__(self, run: Run, value: Any) -> None:
        run._write(self._name, value)


class Run:
    """One run's folder. `Run.new("smoke")` makes one, run_folders.finding finds one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Any] = self._json(_PROGRESS) if (path / _PROGRESS).exists() else {}
        self.stages: list[dict[str, Any]] = self.done.get("stages", [])

    @classmethod
    def new(cls, kind: str) -> Run:
        """A new folder in reports/, named by time and kind."""
        keep_out_of_git(REPORTS)
        path = REPORTS / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
        path.mkdir(parents=True)
        return cls(path)

    @property
    def id(self) -> str:
        """Its folder's name, or what an older summary says."""
        return str(self.summary.get("run_id", self.path.name)) if self.holds(SUMMARY) else self.path.name

    def holds(self, name: str) -> bool:
        """Whether a file of that name is there."""
        return (self.path / name).exists()

    @property
    def unfinished(self) -> bool:
        """Whether it was begun and not published."""
        return self.holds(_PROGRESS)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that fails is not listed, one that goes on takes what it took before as well."""
        began = time.monotonic()
        yield
        seconds = round(time.monotonic() - began, 2)
        before = next((stage for stage in self.stages if stage["name"] == name), None)
        if before is None:
            self.stages.append({"name": name, "seconds": seconds})
        else:
            before["seconds"] = round(before["seconds"] + seconds, 2)
        self.mark("stages", self.stages)

    def mark(self, name: str, value: Any) -> None:
        """Keep that something is done, with what it came to: all or nothing of it is in the file."""
        self.done[name] = value
        self._write(_PROGRESS, self.done)

    def publish(self, name: str = LATEST) -> None:
        """Point reports/`name` here, in one step, so that it never points nowhere; the run is whole."""
        (self.path / _PROGRESS).unlink(missing_ok=True)
        partial = REPORTS / f".{name}-{os.getpid()}"
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.path.name)
        partial.replace(REPORTS / name)

    facts = _JsonFile(_FACTS)
    """What it was measured of and on: system, arms, profile, seed, rows, environment, client, margins."""

    claims = _JsonFile(_CLAIMS)
    """The claims as they stood when it was measured."""

    @property
    def judgeable(self) -> bool:
        """Whether it holds what a verdict is made of; runs before 0.2 told their verdicts alone."""
        return self.holds(_FACTS)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row a timed request: claim, block, order, arm, variant, service_time_s, bytes."""
        return self._frame(_SAMPLES)

    @cached_property
    def slots(self) -> pd.DataFrame:
        """A row a slot: its counters of cache and PostgreSQL, load and steal of the machine."""
        return self._frame(_SLOTS)

    @cached_property
    def controls(self) -> pd.DataFrame:
        """A row a request of the negative controls, as samples; empty of a run that had none."""
        return self._frame(_CONTROLS, Measurements().controls_frame())

    @cached_property
    def statements(self) -> pd.DataFrame:
        """A row a slot and statement, what it did; empty of a run that did not count them."""
        return self._frame(_STATEMENTS, Measurements().statements_frame())

    def keep_measurements(self, measured: Measurements) -> None:
        """Write samples, slots, controls and statements, each in one step."""
        self._write_frame(_SAMPLES, measured.samples_frame())
        self._write_frame(_SLOTS, measured.slots_frame())
        self._write_frame(_CONTROLS, measured.controls_frame())
        self._write_frame(_STATEMENTS, measured.statements_frame())

    def measurements(self, claims: Collection[str]) -> Measurements:
        """What has been measured of these claims so far; nothing where it has not begun."""
        if not claims or not self.holds(_SAMPLES):
            return Measurements()
        now = Run(self.path)  # what this one has read may have been added to
        return Measurements.of_frames(now.samples, now.slots, now.controls, now.statements, claims)

    @cached_property
    def load(self) -> pd.DataFrame:
        """A row a request of the mix: block, arm, name, response_ms, ok."""
        return self._frame(_LOAD)

    @cached_property
    def load_slots(self) -> pd.DataFrame:
        """A row a slot of the mix: hits and misses in all and by kind, Redis memory and keys."""
        return self._frame(_LOAD_SLOTS)

    @property
    def load_in_words(self) -> str:
        """What mix it was, in a phrase; "" where there was none."""
        return str(self._json(_LOAD_IN_WORDS)["described"]) if self.holds(_LOAD_IN_WORDS) else ""

    @property
    def has_load(self) -> bool:
        """Whether the mix was measured."""
        return self.holds(_LOAD_IN_WORDS)

    def keep_load(self, requests: pd.DataFrame, slots: pd.DataFrame, summary: str) -> None:
        """Write what the mix came to; the phrase last, so that it stands for a whole one."""
        self._write_frame(_LOAD, requests)
        self._write_frame(_LOAD_SLOTS, slots)
        self._write(_LOAD_IN_WORDS, {"described": summary})

    @property
    def tried(self) -> dict[str, dict[str, Any]]:
        """The trials of each check, by claim."""
        kept: dict[str, dict[str, Any]] = self._json(_TRIED) if self.holds(_TRIED) else {}
        return kept

    @tried.setter
    def tried(self, value: dict[str, dict[str, Any]]) -> None:
        self._write(_TRIED, value)

    @property
    def unlike(self) -> dict[str, list[str]]:
        """By kind of operation: what the arms answered otherwise than each other; nothing where they did not."""
        kept: dict[str, list[str]] = self._json(_UNLIKE) if self.holds(_UNLIKE) else {}
        return kept

    @unlike.setter
    def unlike(self, value: dict[str, list[str]]) -> None:
        if value or self.holds(_UNLIKE):
            self._write(_UNLIKE, value)

    plans = _JsonFile(_PLANS)
    """Plans of the workload's statements on the compared databases, the raw JSON of EXPLAIN among them."""

    indexes = _JsonFile(_INDEXES)
    """Every index by database: table, name, bytes, scans, constraint."""

    hit_costs = _JsonFile(HIT_COSTS)
    """By kind of operation and layer: microseconds of CPU of a cache's hit."""

    work = _JsonFile(WORK)
    """What a request makes PostgreSQL and Redis do in the arms that are compared; see jobs.report.counted_arms."""
    sizes = _JsonFile(_SIZES)
    """"partial": partial indexes beside whole ones; "tables": bytes of tables for reading alone, by database."""

    summary = _JsonFile(SUMMARY)
    """The verdicts. Raises LabError where it was not judged."""

    @cached_property
    def series(self) -> dict[tuple[str, str, str], list[float]]:
        """Values in ms by (claim, arm, metric), a value a block; see run_folders.series."""
        from archzero_lab.run_folders.series import block_series

        return block_series(self.samples)

    def value(self, claim: str, arm: str, metric: str) -> float | None:
        """The median over blocks of one series, in ms."""
        series = self.series.get((claim, arm, metric))
        return float(np.median(series)) if series else None

    loads = _JsonFile(LOADS)
    """What a load came to: its request, its arms."""

    @cached_property
    def load_seconds(self) -> pd.DataFrame:
        """A row a second and arm of a load: offered, done, failed, dropped, response and service times, hit rate."""
        return self._frame(_LOAD_SECONDS)

    @cached_property
    def load_resources(self) -> pd.DataFrame:
        """A row a second and process: at, process, cpu_percent of one core, rss_bytes, arm, round."""
        return self._frame(_LOAD_RESOURCES)

    @cached_property
    def load_trials(self) -> pd.DataFrame:
        """A row a trial of a capacity; round 0 is the first search, which the capacity is not made of."""
        return self._frame(_LOAD_TRIALS)

    def keep_load_course(self, seconds: pd.DataFrame, resources: pd.DataFrame, trials: pd.DataFrame | None) -> None:
        """Write a load's frames; trials are of a capacity alone."""
        self._write_frame(_LOAD_SECONDS, seconds)
        self._write_frame(_LOAD_RESOURCES, resources)
        if trials is not None:
            self._write_frame(_LOAD_TRIALS, trials)

    index_experiment = _JsonFile(INDEX_EXPERIMENT)
    """What an index experiment came to."""

    def keep_sweep(self, cells: pd.DataFrame) -> None:
        """Write the cells of a sweep."""
        self._write_frame(_SWEEP, cells)

    def write_page(self, html: str, name: str = PAGE) -> Path:
        """Write a page; its path."""
        (self.path / name).write_text(html)
        return self.path / name

    def data_files(self) -> list[str]:
        """The names of the files that hold its numbers."""
        return [name for name in (SUMMARY, _SAMPLES, _SLOTS, _STATEMENTS, _LOAD, _PLANS) if self.holds(name)]

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except OSError:
            raise LabError(f"no run '{self.path.name}': {self.path / name} cannot be read; "
                           "reports/ holds the runs") from None  # fmt: skip
        except ValueError:
            raise LabError(
                f"run '{self.path.name}': its {name} is not JSON; it was cut short, measure it again"
            ) from None

    def _write(self, name: str, value: Any) -> None:
        partial = self.path / f".{name}.part"
        partial.write_text(json.dumps(value, indent=1, default=str) + "\n")
        partial.replace(self.path / name)

    def _frame(self, name: str, without: pd.DataFrame | None = None) -> pd.DataFrame:
        return pd.read_parquet(self.path / name) if self.holds(name) else pd.DataFrame() if without is None else without

    def _write_frame(self, name: str, frame: pd.DataFrame) -> None:
        partial = self.path / f".{name}.part"
        frame.to_parquet(partial, index=False)
        partial.replace(self.path / name)
