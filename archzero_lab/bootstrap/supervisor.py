"""Watches over what `./lab up` keeps: starts again what is gone, bounds logs, says so: python -m … .

It ends with the stack, or when nothing is kept up any more.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from archzero_lab.bootstrap.observers import observers_live, start_observers
from archzero_lab.errors import LabError
from archzero_lab.servers.bounded_logs import bound_logs
from archzero_lab.servers.disk_room import low_room
from archzero_lab.servers.mending import missing_servers, restart_missing
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, is_alive
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.shared_servers import transition
from archzero_lab.servers.stack import SUPERVISOR, kept_stack, read_state, record_state
from archzero_lab.settings import STATE, Settings, load_settings
from archzero_lab.systems.arczero.services import Serving, start_service, url_of_service, urls_of_replicas

_PERIOD_S = 0.5
_LONGEST_PAUSE_S = 30.0
_EVENTS = STATE / "supervisor.jsonl"
_KEPT_EVENTS = 100


def start_supervisor(processes: ProcessRegistry) -> None:
    """Start it for the stack that is kept up; one that runs already goes on."""
    if supervisor_record(processes) is not None:
        return
    argv = [sys.executable, "-P", "-m", "archzero_lab.bootstrap.supervisor"]
    processes.spawn(SUPERVISOR, argv, log=STATE / "logs" / "supervisor.log", kept=True)


def stop_supervisor(processes: ProcessRegistry) -> None:
    """End it: what is kept up is about to change."""
    record = supervisor_record(processes)
    if record is not None:
        processes.stop(record)


def supervisor_record(processes: ProcessRegistry) -> ProcessRecord | None:
    """The supervisor that runs; None where none does."""
    return next((one for one in processes.records() if one.name == SUPERVISOR and is_alive(one)), None)


def events(since: float = 0.0) -> list[dict[str, Any]]:
    """What it saw and did, oldest first: `at` (Unix time) and `what`."""
    read = []
    with suppress(OSError):
        for line in _EVENTS.read_text().splitlines():
            with suppress(ValueError):
                read.append(json.loads(line))
    return [event for event in read if event["at"] >= since]


class Supervisor:
    """Looks at a kept stack; each part that does not come up again is tried after growing pauses."""

    def __init__(self, settings: Settings, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._failed: defaultdict[str, int] = defaultdict(int)
        self._not_before: defaultdict[str, float] = defaultdict(float)
        self._room = ""

    def look(self) -> bool:
        """Mend what is gone; False where nothing is kept up any more."""
        if read_state() is None:
            return False
        self._try("a server", self._mend_servers)
        if kept_stack(self._settings) is not None:
            self._try("the service", self._mend_service)
            self._try("a replica", self._mend_replicas)
            self._try("Prometheus", self._mend_observers)
        bound_logs()
        room = low_room(server_home(STATE))
        if bool(room) != bool(self._room):
            self._tell(room or "there is room on the disk again")
        self._room = room
        return True

    def _try(self, part: str, mend: Callable[[], list[str]]) -> None:
        if self._clock() < self._not_before[part]:
            return
        began = self._clock()
        try:
            mended = mend()
        except (LabError, OSError) as error:
            self._failed[part] += 1
            pause_s = min(2.0 ** self._failed[part], _LONGEST_PAUSE_S)
            self._not_before[part] = self._clock() + pause_s
            if self._failed[part] in (2, 5):  # the first attempt may meet what the dead one left behind
                self._tell(f"{part} is gone and does not start: {error}")
            return
        self._failed[part] = 0
        for name in mended:
            self._tell(f"{name} was gone: started again in {self._clock() - began:.1f} s")

    def _mend_servers(self) -> list[str]:
        if not missing_servers(all_gone=True):
            return []
        with transition(STATE):
            return restart_missing(self._settings, all_gone=True)

    def _mend_replicas(self) -> list[str]:
        if not set(missing_servers()) - {"postgres", "redis"}:
            return []
        with transition(STATE):
            return restart_missing(self._settings, replicas=True)

    def _mend_service(self) -> list[str]:
        service_state = (read_state() or {}).get("service")
        stack = kept_stack(self._settings)
        if not service_state or stack is None or _lives(stack.registry, service_state["pid"]):
            return []
        database = url_of_service(stack, service_state["database_url"])
        replicas = urls_of_replicas(stack, database, (read_state() or {}).get("replicas") or {})
        serving = Serving(
            "treatment", database, cached=True, replicas=replicas, kept=True, port=urlsplit(service_state["url"]).port
        )
        service = start_service(stack, serving)
        record_state(service={**service_state, "pid": service.record.pid, "namespace": service.namespace})
        return ["the service"]

    def _mend_observers(self) -> list[str]:
        state, stack = read_state() or {}, kept_stack(self._settings)
        seen, service = state.get("prometheus"), state.get("service")
        if not seen or not service or stack is None or observers_live(stack.registry, seen["pids"]):
            return []
        record_state(prometheus=start_observers(stack, service["url"], service["database_url"]))
        return ["Prometheus, or what it reads"]


def _lives(processes: ProcessRegistry, pid: int) -> bool:
    return any(record.pid == pid and is_alive(record) for record in processes.records())


def note(what: str) -> None:
    """Write an event down; the oldest go."""
    lines = [json.dumps(event) for event in events()[1 - _KEPT_EVENTS :]]
    partial = _EVENTS.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text("\n".join([*lines, json.dumps({"at": time.time(), "what": what})]) + "\n")
    partial.rename(_EVENTS)


def main() -> None:
    """Look every half second."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    supervisor = Supervisor(load_settings(), note)
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # what it started and what has ended since
                pass
        try:
            if not supervisor.look():
                return
        except Exception:  # it watches on, whatever this was
            logging.exception("the supervisor met a fault of its own")
            time.sleep(_LONGEST_PAUSE_S)
        time.sleep(_PERIOD_S)


if __name__ == "__main__":
    main()
