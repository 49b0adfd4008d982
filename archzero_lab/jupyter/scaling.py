"""How reads scale with replicas, in a notebook: claims that know their cores, costs, and a calculation beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from archzero_lab.bootstrap.system import card_service
from archzero_lab.jobs.studies.scaling import Scaling, study_scaling
from archzero_lab.jobs.studies.scaling_calculation import SIZES, Assumptions
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.scaling_figure import scaling_curves
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings


@dataclass(frozen=True)
class ReadScaling:
    """What was measured, and what follows of it."""

    result: Scaling

    def claims(self) -> Frame:
        """A row a claim: what is claimed, what was measured, the verdict, and why where there is none."""
        rows = []
        for one in self.result.claims:
            measured = f"{one.ratio.estimate:.2f} ({one.ratio.low:.2f} to {one.ratio.high:.2f})" if one.ratio else ""
            rows.append({
                "claim": one.claim.title, "at least": one.claim.claimed, "measured": measured,
                "verdict": one.verdict.value, "why": one.why,
            })  # fmt: skip
        return Frame(rows).set_index("claim")

    def costs(self) -> Frame:
        """CPU time of each, in microseconds."""
        costs = self.result.costs
        told = {
            "a read": costs.read, "a write, on the primary": costs.write, "its sending to a replica": costs.send,
            "its replay there": costs.replay, "a look at where a server is": costs.poll,
            "a second in which nothing is done": costs.idle,
        }  # fmt: skip
        return Frame({"CPU_us": {what: round(seconds * 1e6, 1) for what, seconds in told.items()}})

    def checked(self) -> Frame:
        """Mixed loads that the costs were not made of: CPU of each server, measured and by the costs."""
        rows = [asdict(one) for one in self.result.checked if one.reads or one.writes]
        frame = Frame(rows)
        # a server that did next to nothing took less than the clock of CPU times tells
        measured = frame["measured_s"].where(frame["measured_s"] > 0)
        frame["predicted / measured"] = (frame["predicted_s"] / measured).round(2)
        return Frame(frame.round({"measured_s": 2, "predicted_s": 2}))

    def calculated(self, assumed: Assumptions | None = None) -> Frame:
        """A row a number of replicas: requests a second at most, how many times those of none, and what is short."""
        found = self.result.calculated(assumed or Assumptions())
        alone = found[0].per_s
        rows = [
            {"replicas": number, "requests_per_s": round(one.per_s), "times": round(one.per_s / alone, 2),
             "short of": one.short} for number, one in found.items()
        ]  # fmt: skip
        return Frame(rows).set_index("replicas")

    def figure(self, writes: Sequence[float] = (0.01, 0.2), hits: Sequence[float] = (0.0, 0.8, 0.9)) -> Picture:
        """Requests a second at most against the number of replicas: a panel a share of writes, a line a hit rate."""
        panels = {}
        for share in writes:
            assumed = replace(Assumptions(), writes=share)
            panels[share] = {
                hit: [one.per_s for one in self.result.calculated(replace(assumed, hits=hit)).values()] for hit in hits
            }
        return scaling_curves(SIZES, panels)


def scaling(seconds: float = 2.0, rounds: int = 8) -> ReadScaling:
    """Measure what reads, writes, their replay and looks cost a primary and two replicas, and judge the claims.

    A claim on a machine with fewer cores than its servers and clients need is inconclusive. Starts and stops servers
    of its own; `seconds` each of about ten measurements. Raises LabError where servers do not come up.

        lab.scaling().figure()
    """
    with exclusive("scaling"), running_stack(load_settings()) as stack:
        return ReadScaling(study_scaling(card_service().scaled, stack, seconds=seconds, rounds=rounds))
