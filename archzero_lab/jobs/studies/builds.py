"""Two builds of the service side by side in one run: what tells a slower query from a slower machine.

Between two runs the same code was 5 to 25 % apart on shared machines, and no interval within a run knows of that.
In one run both builds are up at once, on one database, in paired blocks in random order.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_files import choose_claims
from archzero_lab.experiments.claims import Claim, Claimed
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.runner import run_claim
from archzero_lab.progress import QUIET
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CHECKOUT
from archzero_lab.stats.comparison import Comparison, compare, over_starts
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.profiles import Profile
from archzero_lab.systems.system import Loading, Prepared, Rows, System

_PURPOSE = "builds"
_MORE = 2
"""A regression of a tenth is a finer thing than a claim of ten times as fast: more blocks than a report has."""

_STARTS, _STARTS_OF_ALL = 3, 5
"""Each build is started so often, its blocks spread over the starts: two processes of the same code can be a third
apart for as long as they live, where a busy machine gave one of them the better core. A regression is what every start
shows; where one start measures all kinds of requests there are more of them."""


@dataclass(frozen=True)
class BuildComparison:
    """One claim's requests on one arm: the candidate against the baseline, over paired blocks."""

    claim: str
    operations: str
    arm: str
    comparison: Comparison

    @property
    def name(self) -> str:
        """As it is told."""
        return " / ".join(filter(None, [self.claim, self.arm, "p50"]))


@contextmanager
def checkout(build: str) -> Iterator[Path]:
    """A build's tree: a folder as it is, or a git revision in a worktree that is gone afterwards.

    Raises LabError for what is neither.
    """
    folder = Path(build)
    if (folder / "archzero_lab").is_dir():
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="archzero-build-") as name:
        tree = Path(name) / "tree"
        made = _git("worktree", "add", "--detach", str(tree), build)
        if made.returncode != 0:
            reason = (made.stderr.strip().splitlines() or ["no reason told"])[-1]
            raise LabError(f"no build '{build}': neither a checkout's folder nor a git revision ({reason})")
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def compare_builds(
    system: System,
    stack: Stack,
    baseline: Path,
    candidate: Path,
    profile: Profile,
    *,
    only: tuple[str, ...] = (),
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> list[BuildComparison]:
    """Every latency claim's requests on both of its arms, on databases of this tree's schema and migrations.

    Raises MeasurementError where a build answers wrong, ServerError where one does not start.
    """
    blocks = -(-_MORE * profile.blocks // _STARTS)
    claims = [claim for claim in choose_claims(system, only) if claim.timed]
    cases = [(claim, arm) for claim in claims for arm in (claim.control, claim.treatment)]
    if not cases:
        raise LabError("none of these claims is about latency: there is nothing to measure of a build")
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done / (2 * blocks * _STARTS * len(cases)))

    outcomes = []
    arms = [arm for _, arm in cases]
    with system.prepare(stack, Rows(profile.size, seed), _PURPOSE, arms, QUIET) as prepared:
        for claim, arm in cases:
            claim_of_builds = replace(claim, control="baseline", treatment="candidate", beside="")
            both = Opening(arm, "baseline", code=baseline), Opening(arm, "candidate", code=candidate)
            parts = []
            for start in range(_STARTS):
                with prepared.arms(*both) as opened:
                    parts.append(_blocks(prepared, claim_of_builds, opened, profile, blocks, seed, start, step))
            outcomes.append(
                BuildComparison(claim.id, claim.operations, arm, _compare(claim_of_builds, pd.concat(parts)))
            )
    return outcomes


@dataclass(frozen=True)
class RequestsCompared:
    """Two builds of a team's service by kind of request; `unlike`: what they do not answer alike, which is not timed.

    `claim` of each comparison is the kind of request.
    """

    comparisons: list[BuildComparison]
    unlike: dict[str, list[str]]


def compare_requests(
    system: System, stack: Stack, profile: Profile, kinds: Sequence[str], *, seed: int = 1, loading: Loading = QUIET,
    progress: Callable[[float], None] = lambda share: None,
) -> RequestsCompared:  # fmt: skip
    """Every kind of request on a system's two arms, baseline and candidate, each with a database of its own.

    Raises MeasurementError where a build stops answering, ServerError where one does not start.
    """
    blocks = -(-_MORE * profile.blocks // _STARTS_OF_ALL)
    claims = [_of_requests(kind) for kind in kinds]
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done / (2 * blocks * _STARTS_OF_ALL * len(claims)))

    parts: dict[str, list[pd.DataFrame]] = {}
    unlike: dict[str, list[str]] = {}
    with system.prepare(stack, Rows(profile.size, seed), _PURPOSE, system.arms, loading) as prepared:
        for start in range(_STARTS_OF_ALL):
            with prepared.arms(*map(Opening, system.arms)) as opened:
                if start == 0:
                    unlike = {kind: list(differences) for kind, differences in prepared.unlike(opened, kinds).items()}
                for claim in claims:
                    if claim.id not in unlike:
                        part = _blocks(prepared, claim, opened, profile, blocks, seed, start, step)
                        parts.setdefault(claim.id, []).append(part)
                unlike |= {kind: list(differences) for kind, differences in prepared.unlike(opened, ()).items()}
    outcomes = [
        BuildComparison(claim.id, claim.operations, "", _compare(claim, pd.concat(parts[claim.id])))
        for claim in claims
        if claim.id in parts and claim.id not in unlike
    ]
    return RequestsCompared(outcomes, unlike)


def _of_requests(kind: str) -> Claim:
    """A kind of request as what runs blocks knows it; nothing is claimed of it."""
    return Claim(
        id=kind, title=kind, sentence="", section="", metric="p50", claimed=Claimed(0, 0, 0.0), control="baseline",
        treatment="candidate", operations=kind, rule="improvement", mechanism="blocks",
    )  # fmt: skip


def _blocks(
    prepared: Prepared, claim: Claim, opened: Mapping[str, Arm], profile: Profile, blocks: int, seed: int, start: int,
    step: Callable[[], None],
) -> pd.DataFrame:  # fmt: skip
    """The samples of one start's blocks."""
    measured = Measurements()
    run_claim(claim, opened, prepared.operations, profile.slot(claim.operations), blocks, seed + start, measured, step)
    samples = measured.samples_frame()
    return samples.assign(block=samples["block"] + start * blocks, start=start)


def _compare(claim: Claim, samples: pd.DataFrame) -> Comparison:
    medians = samples.groupby(["start", "block", "arm"])["service_time_s"].median().unstack("arm")
    before, after = medians[claim.control], medians[claim.treatment]
    comparison = compare(before.tolist(), after.tolist(), samples=len(samples))
    ratios = pd.Series(np.log(after / before), index=medians.index)
    return over_starts(comparison, [group.tolist() for _, group in ratios.groupby("start")])


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True)
