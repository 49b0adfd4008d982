"""measure: servers, rows, blocks, checks, the mix; every fact that a verdict is made of ends in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_files import arms_of
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.gains import claim_course
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.metrics import QUANTILES
from archzero_lab.experiments.runner import run_claim
from archzero_lab.jobs.checks.trials import try_checks
from archzero_lab.jobs.load.mix import measure_mix
from archzero_lab.jobs.report.counted_arms import count_arms
from archzero_lab.jobs.report.database_facts import keep_database_facts
from archzero_lab.jobs.report.evidence import write_claims
from archzero_lab.jobs.report.request import ReportRequest
from archzero_lab.jobs.report.yardstick import Yardstick
from archzero_lab.progress import Reporter
from archzero_lab.run_folders.environment import describe
from archzero_lab.run_folders.margins import margins
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import Settings
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.profiles import Profile, choose_profile
from archzero_lab.systems.system import Prepared, System

_PURPOSE = "run"
_CLIENT_REQUESTS = 2_000


def measure(
    system: System, settings: Settings, run: Run, request: ReportRequest, claims: Sequence[Claim], reporter: Reporter
) -> None:
    """Measure what is not measured yet. Whatever was started is stopped, however it ends.

    Raises LabError for what a person can mend, and where somebody asked for the end; what is measured by then is kept.
    """
    profile = choose_profile(system.profiles, request.profile, request.size)
    names = arms_of(system, claims)
    with ExitStack() as cleanup:
        with run.stage("servers"), reporter.work("servers"):
            stack = cleanup.enter_context(running_stack(settings))
        with run.stage("load"):
            made = system.prepare(stack, request.rows(profile.size), _PURPOSE, names, reporter)
            prepared = cleanup.enter_context(made)
        write_claims(run, claims)
        with ExitStack() as up:
            with run.stage("arms"), reporter.work("arms"):
                arms = up.enter_context(prepared.arms(*map(Opening, names)))
                yardstick = Yardstick(stack, run.path / "constant.log")
                up.callback(yardstick.close)
                _keep_facts(system, run, request, profile, prepared, stack, yardstick)
                bench = _Bench(run, prepared, arms, profile, request.seed, yardstick.measure_ms, reporter)
                alike = _claims_answered_alike(run, prepared, arms, claims)
            with run.stage("measure"), reporter.work("measure") as tell:
                bench.blocks(alike, tell)
            if request.until_decided_min:
                with run.stage("decide"), reporter.work("decide") as tell:
                    bench.until_decided(alike, request.until_decided_min, tell)
            with run.stage("checks"), reporter.work("checks") as tell:
                run.unlike = {kind: list(differences) for kind, differences in prepared.unlike(arms, ()).items()}
                run.hit_costs = {kind: dict(layers) for kind, layers in prepared.hit_costs(arms).items()}
                _end_where_asked(run, reporter)
                try_checks(run, claims, prepared, arms[system.compared[1]], tell)
            with run.stage("locust"), reporter.work("locust") as tell:
                # an index is called unused only after the mix has had its chance to use it
                mixed = [claim for claim in claims if claim.operations == "mix" or claim.mechanism == "scans"]
                if mixed and not run.has_load:
                    # a third arm has no part in the mix: its indexes have their chance when all is measured
                    of_mix = {name: arms[name] for name in arms_of(system, [replace(c, beside="") for c in mixed])}
                    measure_mix(system, stack, run, prepared, of_mix, profile, request.seed, tell)
            _end_where_asked(run, reporter)
            prepared.use_everything(arms)
        with run.stage("plans"), reporter.work("plans"):
            # now that no service is connected: PostgreSQL's sessions tell which indexes they read when they end
            keep_database_facts(run, prepared, system.compared)
    if profile.name != "smoke":  # half a minute, which its promise has not
        with run.stage("work"):
            count_arms(system, settings, run, profile.size, request.seed, reporter)


def _keep_facts(
    system: System, run: Run, request: ReportRequest, profile: Profile, prepared: Prepared, stack: Stack,
    yardstick: Yardstick,
) -> None:  # fmt: skip
    environment = describe(stack)
    if of_treatment := prepared.facts.get("commits", {}).get(system.compared[1]):
        # a run is of the code that it measures; the lab's own is told beside it
        commit, changed = of_treatment
        environment |= {"lab_commit": environment["git_commit"], "git_commit": commit, "git_dirty": changed}
    run.facts = {
        "system": system.name,
        "title": system.title,
        "notebooks": system.has_notebooks,
        "arms": {name: {"database": kind.database, "label": kind.label} for name, kind in system.arms.items()},
        "compared": list(system.compared),
        "profile": profile.name,
        "parameters": profile.as_dict(),
        "seed": request.seed,
        "until_decided": request.until_decided_min > 0,
        "rows": dict(prepared.facts),
        "environment": environment,
        "client": yardstick.client_cost(_CLIENT_REQUESTS),
        "margins": margins(environment["machine"]),
    }


def _claims_answered_alike(run: Run, prepared: Prepared, arms: dict[str, Arm], claims: Sequence[Claim]) -> list[Claim]:
    """The claims whose arms answer alike: the time of a wrong answer is not measured, that it is wrong is kept."""
    kinds = list(dict.fromkeys(claim.operations for claim in claims if claim.timed))
    run.unlike = {kind: list(differences) for kind, differences in prepared.unlike(arms, kinds).items()}
    return [claim for claim in claims if claim.operations not in run.unlike]


def _end_where_asked(run: Run, reporter: Reporter) -> None:
    if reporter.stop_asked.is_set():
        raise LabError(f"stopped; what is measured is kept in run {run.path.name}")


@dataclass
class _Bench:
    """The arms of a run, up, and where their blocks are kept."""

    run: Run
    prepared: Prepared
    arms: dict[str, Arm]
    profile: Profile
    seed: int
    yardstick: Callable[[], float]
    reporter: Reporter

    def blocks(self, claims: Sequence[Claim], tell: Callable[[float], None]) -> None:
        """All blocks of all timed claims; what an interrupted run has is not measured again."""
        run, profile = self.run, self.profile
        whole: list[str] = run.done.get("measured", [])
        begun: dict[str, int] = run.done.get("blocks", {})  # of a claim that was stopped between two of its blocks
        measured = run.measurements([*whole, *begun])
        timed = [claim for claim in claims if claim.timed and claim.id not in whole]
        slots = profile.blocks * sum(len(claim.arms) for claim in timed)
        done = sum(begun.get(claim.id, 0) * len(claim.arms) for claim in timed)

        def step() -> None:
            nonlocal done
            done += 1
            tell(done / max(slots, 1))

        for claim in timed:
            for block in range(begun.get(claim.id, 0), profile.blocks):
                self._block(claim, block, measured, step)
                self.reporter.block(claim.id, block, measured.block_ms(claim.id, block))
                if self.reporter.stop_asked.is_set() and done < slots:
                    run.keep_measurements(measured)
                    last = block + 1 == profile.blocks
                    run.mark("blocks", {} if last else {claim.id: block + 1})
                    run.mark("measured", [*whole, claim.id] if last else whole)
                    raise LabError(f"stopped after block {block + 1} of {profile.blocks} of {claim.id}; what is "
                                   f"measured is kept in run {run.path.name}")  # fmt: skip
            run.keep_measurements(measured)
            whole = [*whole, claim.id]
            run.mark("measured", whole)
        run.mark("blocks", {})
        run.keep_measurements(measured)

    def until_decided(self, claims: Sequence[Claim], minutes: float, tell: Callable[[float], None]) -> None:
        """Add blocks, a claim after the other, to those that are not decided, until all are or the time is over."""
        deadline = time.monotonic() + minutes * 60
        open_claims = [claim for claim in claims if claim.timed]
        measured = self.run.measurements([claim.id for claim in open_claims])
        blocks = self.profile.blocks
        while time.monotonic() < deadline:
            frames = measured.samples_frame(), measured.slots_frame()
            open_claims = [claim for claim in open_claims if claim_course(claim, *frames).decided_at is None]
            if not open_claims:
                break
            for claim in open_claims:
                self._block(claim, blocks, measured)
                tell(min(1.0, 1 - (deadline - time.monotonic()) / (minutes * 60)))
            blocks += 1
        self.run.keep_measurements(measured)

    def _block(self, claim: Claim, block: int, into: Measurements, step: Callable[[], None] = lambda: None) -> None:
        size = self.profile.slot(claim.operations, QUANTILES.get(claim.metric))
        run_claim(claim, self.arms, self.prepared.operations, size, block + 1, self.seed, into, step, self.yardstick,
                  first=block, controls=True)  # fmt: skip
