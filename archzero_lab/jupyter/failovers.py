"""A database and its Redis changing hands under load, in a notebook: the time line, the gaps, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archzero_lab.bootstrap.system import card_service
from archzero_lab.jobs.consistency.failover import FailoverResult, verify_failover
from archzero_lab.jobs.consistency.failover_looks import behind
from archzero_lab.reporting import figures
from archzero_lab.reporting.failover_figure import failover_line
from archzero_lab.reporting.frame import Frame
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings


@dataclass(frozen=True)
class Failover:
    """What was seen of one run of verify-failover."""

    result: FailoverResult

    def table(self) -> Frame:
        """A row a fault: how often, and the seconds without a write and without a read, median and worst."""
        rows = self.result.by_fault()
        columns = [name for name in rows[0] if name != "fault"]
        return Frame([[row[name] for name in columns] for row in rows], [str(row["fault"]) for row in rows], columns)

    def verdict(self) -> Frame:
        """What was acknowledged, read and refused; how much was lost, doubled, stale, missed, back and phantom."""
        result, verdict = self.result, self.result.verdict
        told = {
            "writes acknowledged": verdict.writes, "reads": verdict.reads, "writes refused": result.failed_writes,
            "reads refused": result.failed_reads, **verdict.counts(),
        }  # fmt: skip
        return Frame({"number": told})

    def faults(self) -> Frame:
        """The faults by their number in the figure: when, and what."""
        rows = [{"at_s": round(at, 1), "fault": what} for at, what in self._faults()]
        return Frame(rows, index=range(1, len(rows) + 1))

    def figure(self) -> figures.Picture:
        """Roles, rates and refusals, latency and lag over time; each fault with its number."""
        result = self.result
        roles: dict[str, list[tuple[float, float, str]]] = {}
        for look in result.looks:
            parts, at = roles.setdefault(look.server, []), self._seconds(look.at_ns)
            if parts and parts[-1][2] == look.role:
                parts[-1] = (parts[-1][0], at, look.role)
            else:
                if parts:
                    parts[-1] = (parts[-1][0], at, parts[-1][2])
                parts.append((at, at, look.role))
        far: dict[str, list[tuple[float, float]]] = {}
        for at_ns, server, count in behind(result.looks):
            far.setdefault(server, []).append((self._seconds(at_ns), count / 1024))
        return failover_line(result.line, dict(sorted(roles.items())), dict(sorted(far.items())), self._faults())

    def _faults(self) -> list[tuple[float, str]]:
        return [(self._seconds(at_ns), what) for at_ns, what in self.result.faults]

    def _seconds(self, at_ns: int) -> float:
        return (at_ns - self.result.began_ns) / 1e9


def failovers(
    minutes: float = 1.0, seed: int = 1, faults: Sequence[str] = (), asynchronous: bool = False, redis: str = "single"
) -> Failover:
    """Let a database of three servers change hands under load while its Redis is hurt, and check every read.

    Every fault once at least (about a minute), or those that are named; `redis` is single, behind a sentinel, or a
    cluster. Starts and stops servers of its own. Raises UnknownNameError, MeasurementError where the servers do not
    come back.

        lab.failovers(minutes=2).figure()
    """
    with exclusive("failovers"), running_stack(load_settings()) as stack:
        return Failover(
            verify_failover(
                card_service().failovers,
                stack,
                minutes=minutes,
                seed=seed,
                kinds=faults,
                synchronous=not asynchronous,
                redis=redis,
            )
        )
