"""The servers of a cluster, as URLs name them, and what one of them said when it was asked last."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from archzero_lab.postgres.positions import Position

NOT_ASKED = "was not asked yet"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server said. `timeline`: of what a replica streams, None while it streams nothing.

    `since`: when it was started, to the microsecond. Two names of one server (a proxy's and its own) say the same.
    """

    asked_at: float
    writable: bool
    system: int
    timeline: int | None
    lsn: int
    since: str


@dataclass(eq=False)
class Node:
    """One server; `leads`: the primary's URL names it. `trouble` says why nothing can be read from it, or that it takes
    writes and should not; "" where it is a replica to read from, or the primary."""

    url: str
    name: str
    leads: bool = True
    seen: Seen | None = None
    timeline: int | None = None
    """What it streamed last; while it streams nothing it has none other."""
    trouble: str = NOT_ASKED
    tried_at: float = -math.inf
    """When it was asked last, whether it answered or not."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def position(self) -> Position | None:
        """How far it has replayed at least; None for a primary, and where nobody knows."""
        if self.trouble or self.seen is None or self.seen.writable or self.timeline is None:
            return None
        return Position(self.seen.system, self.timeline, self.seen.lsn)


def nodes_of(primary: str, replicas: Sequence[str]) -> list[Node]:
    """The servers of a primary's URL, which may name several (libpq's multi-host form), and its replicas, each once.

    Raises psycopg.ProgrammingError for what is no URL.
    """
    nodes: dict[str, Node] = {}
    for at, url in enumerate((primary, *replicas)):
        given = conninfo_to_dict(url)
        given.pop("target_session_attrs", None)
        if not given.get("host"):  # libpq's own defaults: a service, the environment, a socket
            nodes.setdefault(url, Node(url, str(given.get("service") or "the URL's server"), leads=at == 0))
            continue
        hosts, ports = str(given["host"]).split(","), str(given.get("port") or "5432").split(",")
        addresses = str(given.pop("hostaddr", None) or "").split(",")
        for number, host in enumerate(hosts):
            port = ports[number] if number < len(ports) else ports[-1]
            place = {"host": host, "port": port}
            if number < len(addresses) and addresses[number]:
                place["hostaddr"] = addresses[number]
            one = make_conninfo("", **{**given, **place})
            nodes.setdefault(f"{host}:{port}", Node(one, f"{host}:{port}", leads=at == 0))
    return list(nodes.values())
