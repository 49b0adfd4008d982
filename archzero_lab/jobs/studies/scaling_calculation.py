"""How many requests a second so many replicas carry, from what each costs in CPU time: an upper bound, and its causes.

Every write is replayed by every replica and sent to each by the primary, and every process of the service looks at
every server again and again; so each further replica carries less than the one before, and in the end nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from archzero_lab.jobs.studies.scaling_costs import Costs

SIZES = (0, 1, 2, 4, 16, 64)


@dataclass(frozen=True)
class Assumptions:
    """What is not measured. `cores`: of each server, all of which PostgreSQL may use (`replay` one of them alone);
    `writes`: of a hundred requests; `on_primary`: the share of the database's reads that the primary answers though
    there are replicas, since none has replayed what the reader must see; `hits`: the share of reads that a cache
    answers; `per_process`: requests a second of a process of the service, each of which looks `polls` times a second
    at each server. No lock, disk or network is short, and reads are spread evenly."""

    cores: float = 4.0
    writes: float = 0.01
    on_primary: float = 0.02
    hits: float = 0.0
    per_process: float = 1_500.0
    polls: float = 20.0


@dataclass(frozen=True)
class Carried:
    """Requests a second, and what is short first: the primary, the replicas, or one replica's replay."""

    per_s: float
    short: str


def most_requests(costs: Costs, replicas: int, assumed: Assumptions) -> Carried:
    """The most that no server needs more CPU time for than it has."""
    reads = (1 - assumed.writes) * (1 - assumed.hits)
    looks = assumed.polls * costs.poll / assumed.per_process if replicas else 0.0
    on_primary = assumed.on_primary if replicas else 1.0
    room = assumed.cores - costs.idle
    primary = reads * on_primary * costs.read + assumed.writes * (costs.write + replicas * costs.send) + looks
    limits = {"primary": _per_s(room, primary)}
    if replicas:
        each = reads * (1 - on_primary) / replicas * costs.read + assumed.writes * costs.replay + looks
        limits |= {"replicas": _per_s(room, each), "replay": _per_s(1.0, assumed.writes * costs.replay)}
    short = min(limits, key=lambda name: limits[name])
    return Carried(limits[short], short)


def _per_s(room: float, each: float) -> float:
    return room / each if each > 0 else float("inf")
