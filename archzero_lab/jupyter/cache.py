"""The cache's own experiments in a notebook: how stale do caches get, and what does a service without Redis do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from archzero_lab.bootstrap.system import card_service
from archzero_lab.jobs.consistency.check import Verdict
from archzero_lab.jobs.consistency.faults import choose_faults
from archzero_lab.jobs.consistency.harness import verify_consistency
from archzero_lab.jobs.studies.degradation import Degradation, measure_degradation
from archzero_lab.reporting import course_figures, figures
from archzero_lab.reporting.frame import Frame
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings

OURS = "archzero-lab"
NEAR = "archzero-lab, near cache"


@dataclass(frozen=True)
class Staleness:
    """The harness' verdict on each cache, ours first."""

    verdicts: dict[str, Verdict]

    def table(self) -> Frame:
        """A row a cache: reads, writes, violations, the share of stale reads, and of reads not staler than a window."""
        rows = {}
        for name, verdict in self.verdicts.items():
            nines = {f"within_{window}_ms": f"{share:.4%}" for window, share in verdict.nines().items()}
            rows[name] = {
                "reads": verdict.reads,
                "writes": verdict.writes,
                "violations": len(verdict.violations),
                "stale": f"{len(verdict.late_ms) / verdict.reads:.4%}",
                **nines,
            }
        return Frame(rows).T

    def figure(self) -> figures.Picture:
        """The share of reads staler than a time, a line a cache."""
        return course_figures.staleness(
            {name: (verdict.late_ms, verdict.reads) for name, verdict in self.verdicts.items()}
        )


def staleness(reads: int = 50_000, peers: bool = True, seed: int = 1, faults: Sequence[str] = ()) -> Staleness:
    """Write and read at random through each cache while its Redis is hurt, and check every read.

    About 20 s a cache at 50,000 reads; with the names of some faults (jobs.consistency.faults) with those alone.
    Starts and stops servers of its own.

        lab.staleness(reads=50_000).table()
    """
    verdicts: dict[str, Verdict] = {}
    kinds = choose_faults(faults)
    with running_stack(load_settings()) as stack:
        check = partial(verify_consistency, card_service().histories, stack, reads=reads, seed=seed, kinds=kinds)
        verdicts[OURS] = check().verdict
        verdicts[NEAR] = check(near=True).verdict
        for name in card_service().histories.libraries if peers else ():
            verdicts[name] = check(of=name).verdict
    return Staleness(verdicts)


@dataclass(frozen=True)
class TimeLine:
    """One service through the loss of Redis and PostgreSQL."""

    seen: Degradation

    def table(self) -> Frame:
        """A row a fault; see jobs.studies.degradation.Degradation.by_phase."""
        return Frame(self.seen.by_phase())

    def refusals(self) -> Frame:
        """What was answered 503 while PostgreSQL was away."""
        return Frame(self.seen.refusals())

    @property
    def ratio(self) -> float:
        """p99 with Redis away over the p99 of the service without a cache, in the same seconds."""
        return self.seen.ratio_while_redis_is_away()

    def figure(self) -> figures.Picture:
        """Latency, failures and hit rate over time, the faults shaded."""
        phases = [(phase.began_s, phase.ended_s, phase.fault) for phase in self.seen.phases]
        return course_figures.time_line(self.seen.reads, self.seen.hits, phases)


def degradation(phase_s: float = 4.0) -> TimeLine:
    """Take Redis away in four ways, then PostgreSQL, while the service is read without a pause.

    Ten phases of `phase_s` and some seconds to start. Starts and stops servers of its own.

        lab.degradation().figure()
    """
    with running_stack(load_settings()) as stack:
        return TimeLine(measure_degradation(card_service(), stack, phase_s=phase_s))
