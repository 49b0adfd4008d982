"""verify-faults: a service of four workers under load while everything around it breaks, and what must hold of it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import psutil

from archzero_lab.errors import MeasurementError, unknown_name
from archzero_lab.jobs.consistency.check import check
from archzero_lab.jobs.consistency.clients import ADDRESS, Asked, Clients, Recording
from archzero_lab.jobs.consistency.faults_around import BY_CLIENTS, Ground, choose_faults
from archzero_lab.servers.process import tail
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE
from archzero_lab.stats.estimates import quantile
from archzero_lab.systems.endured import Endures
from archzero_lab.systems.histories import Read

LONGEST_OTHERS_S = 2.0
"""p99 of what other clients ask for while one client attacks; all of it must be answered."""
LONGEST_AROUND_S = 12.0
"""The longest that anybody waits for any answer while a server, the network, the disk or a worker is away."""
BACK_S = 10.0
"""From the end of a fault until reads and writes are answered as ever."""
_WELL_IN_A_ROW = 16
"""One of four workers that is not well yet is asked by none of them once in a hundred times."""
_SLOW_MACHINE_S = 0.5
"""p99 between the faults above which the waits say more about the machine."""
_GROWTH, _GROWTH_MB, _FILES = 1.5, 200, 40
_FAULT_S, _CALM_S, _WARM_S, _GIVEN_UP_S = 4.0, 1.5, 4.0, 60.0


@dataclass(frozen=True)
class Use:
    """Memory and open files of a service's processes together."""

    rss_mb: float
    files: int


@dataclass(frozen=True)
class Met:
    """A fault that was met, in monotonic s, and how long after its end all was well; inf where it never was.

    From `began_s` it was brought about, from `whole_s` until `ended_s` it was there: an attack's process takes a while.
    """

    fault: str
    began_s: float
    whole_s: float
    ended_s: float
    back_s: float


@dataclass
class Endurance:
    """What a run found. `broken` promises and `waits` beyond their bounds are sentences."""

    met: list[Met]
    recording: Recording
    before: Use
    after: Use
    left_out: dict[str, str]
    seconds: float
    broken: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    @property
    def slow_machine(self) -> bool:
        """Whether others waited while nothing was hurt: then the waits are not the service's."""
        calm = self.asked_between()
        return bool(calm) and quantile(calm, 0.99) > _SLOW_MACHINE_S

    def asked_in(self, fault: str) -> list[Asked]:
        """What other clients asked for or waited for while it was there, wherever it was met.

        Not what had been asked before it was brought about: that may still have waited for another fault's end.
        """
        mine = [one for one in self.met if one.fault == fault]
        return [
            a
            for a in self.recording.asked
            if any(m.began_s <= a.began_s < m.ended_s and m.whole_s < a.began_s + a.seconds for m in mine)
        ]

    def slowest_around(self, fault: str) -> float:
        """Seconds of the slowest read or write that began while it lasted or before all was well; 0 for none."""
        spans = [(one.began_s, one.ended_s + one.back_s) for one in self.met if one.fault == fault]
        both = [*self.recording.asked, *self.recording.written]
        return max((a.seconds for a in both if any(b <= a.began_s < e for b, e in spans)), default=0.0)

    def asked_between(self) -> list[float]:
        """Seconds of what was asked for while nothing was hurt."""
        return [
            a.seconds
            for a in self.recording.asked
            if not any(m.began_s <= a.began_s + a.seconds and a.began_s < m.ended_s + m.back_s for m in self.met)
        ]


def verify_faults(
    endures: Endures,
    stack: Stack,
    *,
    minutes: float,
    seed: int = 1,
    without: Sequence[str] = (),
    kinds: Sequence[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> Endurance:
    """Hurt a service for so long, each fault of `kinds` once at least and in random order, and check what must hold.

    No acknowledged write is lost or doubled, no read is stale, other clients go on, all is well within BACK_S,
    memory and open files do not grow. Raises UnknownNameError for a guard or fault that is not known.
    """
    for guard in without:
        if guard not in endures.guards:
            raise unknown_name("guard", guard, list(endures.guards))
    chosen = choose_faults(kinds)
    rng = random.Random(f"faults {seed}")
    began = time.monotonic()
    with Ground(stack, endures, tuple(without), rng) as ground:
        clients = Clients(ground.service, seed)
        clients.start()
        try:
            time.sleep(_WARM_S)  # the load's own beginning: connections, first fills
            before, deck, met = _use(ground), list[str](), list[Met]()
            possible = [fault for fault in chosen if fault not in ground.left_out]
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until or len(met) < len(possible):
                if not possible:
                    time.sleep(1)
                else:
                    deck = deck or rng.sample(possible, len(possible))
                    met.append(_meet(ground, deck.pop(), clients))
                progress(1 - max(until - time.monotonic(), 0) / (minutes * 60))
            progress(1.0)
            time.sleep(_CALM_S)
        finally:
            clients.stop()
        after = _use_when_quiet(ground, before)
        left_out = {fault: why for fault, why in ground.left_out.items() if fault in chosen}
        result = Endurance(met, clients.recording, before, after, left_out, time.monotonic() - began)
        result.broken = [*_lost(ground, clients, met), *_grown(result)]
        result.waits = _waits(result)
    return result


def _meet(ground: Ground, fault: str, clients: Clients) -> Met:
    began = time.monotonic()
    ground.hurt(fault, _FAULT_S)
    whole = time.monotonic()
    time.sleep(_FAULT_S)  # it lasts
    ground.heal()
    ended = time.monotonic()
    back = _until_well(ground, clients.mark)
    time.sleep(_CALM_S)  # all is in order, until the next
    return Met(fault, began, whole, ended, back)


def _until_well(ground: Ground, mark: str) -> float:
    """Seconds until health is well on many connections in a row, of which each worker gets some, and a write is taken.

    inf after a minute.
    """
    began = time.monotonic()
    transport = httpx.HTTPTransport(local_address=ADDRESS, limits=httpx.Limits(max_keepalive_connections=0))
    with httpx.Client(base_url=ground.service.url, timeout=15, transport=transport, trust_env=False) as client:
        while time.monotonic() - began < _GIVEN_UP_S:
            try:
                path, body, _ = ground.service.new(f"{mark} well {uuid.uuid4().hex}")
                well = all(client.get("/api/v1/health").is_success for _ in range(_WELL_IN_A_ROW))
                well = well and client.post(path, json=body).is_success
            except httpx.HTTPError:
                well = False
            if well:
                return time.monotonic() - began
            time.sleep(0.05)  # polling until all is well
    return float("inf")


def _use(ground: Ground) -> Use:
    rss, files = 0, 0
    try:
        leader = psutil.Process(ground.service.pid)
        for process in (leader, *leader.children(recursive=True)):
            rss += process.memory_info().rss
            files += process.num_fds()
    except psutil.Error:
        log = STATE / "logs" / "service-faults.log"
        raise MeasurementError(f"the service has ended: {tail(log, 2) or 'no message'} (whole log: {log})") from None
    return Use(rss / 2**20, files)


def _use_when_quiet(ground: Ground, before: Use) -> Use:
    """Once connections of clients that have gone are closed, or after a while."""
    until = time.monotonic() + 15
    while (use := _use(ground)).files > before.files and time.monotonic() < until:
        time.sleep(0.2)  # polling until they are
    return use


def _lost(ground: Ground, clients: Clients, met: Sequence[Met]) -> list[str]:
    """Acknowledged writes that are not there, writes that were made twice, reads that were stale."""
    recording, service = clients.recording, ground.service
    lost = []
    with ground.connect() as connection:
        last: dict[str, int] = dict(connection.execute(service.versions, [list(service.items)]).fetchall())
        there = {row[0] for row in connection.execute(service.new("")[2], [f"{clients.mark}%"]).fetchall()}
    missing = [name for name in recording.made if name not in there]
    if missing:
        lost.append(f"{len(missing)} new items were acknowledged and are not there: {missing[0]}, …")
    for path in service.items:
        mine = [write for write in recording.writes if write.key == path]
        acknowledged = [write.version for write in mine if not write.refused]
        most = 1 + len(mine)
        if acknowledged and last[path] < max(acknowledged):
            lost.append(f"{path}: version {max(acknowledged)} was acknowledged, {last[path]} is there")
        if last[path] > most or len(set(acknowledged)) < len(acknowledged):
            lost.append(f"{path}: written {len(mine)} times, and at version {last[path]}")
    stale = check(recording.writes, recording.reads).violations
    return lost + [
        f"{v.kind}: {v.read.key} read at version {v.read.version}, not {v.expected}, {_when(v.read, met)}"
        for v in stale[:5]
    ]


def _when(read: Read, met: Sequence[Met]) -> str:
    """Which fault a read belongs to: what was hurt, or had just been."""
    began_s = read.began_ns / 1e9
    last = next((one for one in reversed(met) if one.began_s <= began_s), None)
    if last is None:
        return "before any fault"
    return (
        f"{began_s - last.began_s:.2f} s after '{last.fault}' began, which lasted {last.ended_s - last.began_s:.2f} s"
    )


def _grown(result: Endurance) -> list[str]:
    """Answers that the contract does not have, memory and files that were not given back."""
    lines = [f"{count} times: {what}" for what, count in result.recording.strange.items()]
    if result.after.rss_mb > result.before.rss_mb * _GROWTH + _GROWTH_MB:
        lines.append(f"memory grew from {result.before.rss_mb:.0f} to {result.after.rss_mb:.0f} MB")
    if result.after.files > result.before.files + _FILES:
        lines.append(f"open files grew from {result.before.files} to {result.after.files}")
    return lines


def _waits(result: Endurance) -> list[str]:
    """Whom a fault kept waiting, or from being answered, beyond the bounds."""
    lines = []
    for fault in dict.fromkeys(met.fault for met in result.met):
        requests = result.asked_in(fault)
        if not requests:
            lines.append(f"{fault}: nobody was answered")
        elif fault in BY_CLIENTS:
            not_answered = sum(a.status != 200 for a in requests)
            if not_answered:
                lines.append(
                    f"{fault}: {not_answered} of {len(requests)} requests of other clients were not answered 200"
                )
            p99 = quantile([a.seconds for a in requests], 0.99)
            if p99 > LONGEST_OTHERS_S:
                lines.append(f"{fault}: p99 of other clients {p99:.1f} s, above {LONGEST_OTHERS_S:g}")
        elif (slowest := result.slowest_around(fault)) > LONGEST_AROUND_S:
            lines.append(f"{fault}: a request took {slowest:.1f} s, above {LONGEST_AROUND_S:g}")
    lines += [
        f"{met.fault}: well again only after {met.back_s:.1f} s, above {BACK_S:g}"
        for met in result.met
        if met.back_s > BACK_S
    ]
    return lines
