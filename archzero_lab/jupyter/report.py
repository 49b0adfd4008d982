"""lab.report: a whole report measured by a process of its own, followed by a panel while the notebook stays usable."""

from __future__ import annotations

import html
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_files import choose_claims
from archzero_lab.jobs.report.stages import SHARES
from archzero_lab.jupyter.narrowing import narrowing
from archzero_lab.jupyter.run import Run, load_run
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.tables import whole_html
from archzero_lab.run_folders.finding import unfinished_run
from archzero_lab.settings import ROOT
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.systems.profiles import choose_profile

_LOOK_S = 0.1


class Report:
    """A report that runs or has run. Asking for its `run` waits for the end.

    `stop()` ends it after the block that is under way; what it measured is kept and `lab.report(resume=…)` goes on.
    """

    def __init__(self, arguments: Sequence[str], only: Sequence[str], blocks: int) -> None:
        self._claims = {claim.id: claim for claim in choose_claims(system_here(), only) if claim.timed}
        self._blocks = blocks
        self._began = time.monotonic()
        self._stage, self._share = "servers", 0.0
        self._ms: dict[str, list[dict[str, float]]] = {}
        self._intervals: dict[str, list[tuple[int, float, float]]] = {}
        self._run_id = ""
        self._said: list[str] = []
        self._stopping = False
        # of its own session: an interrupt of the kernel is not one of the report
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "archzero_lab", "report", "--progress", "json", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._follow, daemon=True, name="archzero-lab report"),
            threading.Thread(target=self._hear, daemon=True, name="archzero-lab report errors"),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return any(thread.is_alive() for thread in self._threads)

    @property
    def progress(self) -> float:
        """About the share of its time that is over, 0 to 1."""
        if self._run_id:
            return 1.0
        names = list(SHARES)
        before = sum(SHARES[name] for name in names[: names.index(self._stage)])
        return before + SHARES[self._stage] * self._share

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes; None at first."""
        done = self.progress
        return (time.monotonic() - self._began) / done * (1 - done) if done > 0.1 else None

    def stop(self) -> Report:
        """End after the current block; what was measured is kept."""
        if not self._stopping and self._process.stdin is not None and self.running:
            self._stopping = True
            with suppress(OSError):  # it has just ended by itself
                self._process.stdin.write("stop\n")
                self._process.stdin.flush()
        return self

    def wait(self) -> Run:
        """The finished run. Raises LabError with the reason where it did not come to its end."""
        try:
            while self.running:
                time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            self.stop()
            for thread in self._threads:
                thread.join()
        if not self._run_id:
            said = next((line for line in reversed(self._said) if line.startswith("lab: ")), "ended without a word")
            raise LabError(said.removeprefix("lab: "))
        return load_run(self._run_id)

    @property
    def run(self) -> Run:
        """The finished run: `.claims`, `.note(claim)`, `.blocks(claim)`, figures and frames."""
        return self.wait()

    def so_far(self) -> Frame:
        """A row a timed claim: blocks, before and after in ms, the ratio and its interval so far."""
        rows: dict[str, dict[str, Any]] = {}
        for claim_id, claim in self._claims.items():
            row: dict[str, Any] = {"blocks": len(self._ms.get(claim_id, []))}
            if (comparison := self._compared(claim_id)) is not None:
                row |= {
                    "before ms": comparison.control,
                    "after ms": comparison.treatment,
                    "ratio": comparison.effect_size,
                    "ci_low": comparison.ci_low,
                    "ci_high": comparison.ci_high if math.isfinite(comparison.ci_high) else None,
                }
            rows[claim.title] = row
        return Frame(rows).T

    def so_far_html(self) -> str:
        """Stage, table and the narrowing interval of the claim that is being measured; for looking."""
        body = f"<p>{html.escape(self._stage)}; a ratio below 1 is faster after</p>{_table(self.so_far())}"
        newest = next(reversed(list(self._ms)), None)
        if newest is None:
            return body
        comparison = self._compared(newest)
        intervals = self._intervals.setdefault(newest, [])
        if (
            comparison is not None
            and math.isfinite(comparison.ci_high)
            and (not intervals or intervals[-1][0] != comparison.blocks)
        ):
            intervals.append((comparison.blocks, comparison.ci_low, comparison.ci_high))
        claim = self._claims[newest]
        ratios = [block[claim.treatment] / block[claim.control] for block in self._ms[newest]]
        return body + f"<p>{html.escape(claim.title)}</p>" + narrowing(ratios, intervals, self._blocks, 0.05)

    def __repr__(self) -> str:
        if self.running:
            return f"report: {self._stage}, {self.progress:.0%}"
        return repr(self.wait())

    def _repr_html_(self) -> str:
        run = self.wait()
        page = f"reports/{run.path.name}/index.html"
        return (
            f"<p><strong>{html.escape(repr(run))}</strong>; the page: {html.escape(page)}</p>"
            f"{_table(run.claims)}{run.improvements()._repr_html_()}"
        )

    def _ipython_display_(self) -> None:
        from archzero_lab.jupyter.panel import show

        show(self)

    def _compared(self, claim_id: str) -> Comparison | None:
        # a copy: the thread that follows the report goes on adding blocks
        claim, blocks = self._claims[claim_id], list(self._ms.get(claim_id, []))
        if not blocks:
            return None
        return compare([block[claim.control] for block in blocks], [block[claim.treatment] for block in blocks])

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if "stage" in event and event["stage"] in SHARES:
                self._stage, self._share = event["stage"], event["share"]
            elif "claim" in event and event["claim"] in self._claims:
                self._ms.setdefault(event["claim"], []).append(event["ms"])
            elif "run" in event:
                self._run_id = event["run"]
        self._process.wait()

    def _hear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line.strip())


def report(
    only: Sequence[str] = (), *, profile: str = "smoke", cards: int | None = None, seed: int = 1, resume: str = ""
) -> Report:
    """Measure phase 5's claims, or some of them, and one's own; what `./lab report` does, in the background.

        lab.report(only=["card_detail", "search_gin"])
        lab.report(profile="standard").run.claims

    `resume` goes on with a run that was stopped: loaded cards and whole claims are not done again. Raises
    UnknownNameError for an unknown profile or claim, LabError for a run that cannot be resumed.
    """
    if resume:
        request = unfinished_run(resume).done["request"]
        profile, cards, only = request["profile"], request["size"], request["only"]
    blocks = choose_profile(system_here().profiles, profile, cards).blocks
    choose_claims(system_here(), only)
    arguments = ["--resume", resume] if resume else ["--profile", profile, "--seed", str(seed)]
    if not resume:
        arguments += [word for claim in only for word in ("--only", claim)]
        arguments += ["--cards", str(cards)] if cards is not None else []
    return Report(arguments, only, blocks)


def _table(frame: Frame) -> str:
    return whole_html(frame)
