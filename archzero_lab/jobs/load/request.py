"""What `./lab load` was asked for, and whether it can be: refused in a line before anything is sent."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from archzero_lab.errors import LabError, SettingsError, mask_secrets, unknown_name
from archzero_lab.extras import require
from archzero_lab.settings import RESOURCES
from archzero_lab.systems.system import System

LOADTESTS = RESOURCES / "loadtests"
SHAPES = ("constant", "ramp", "steps", "spike", "soak", "capacity", "replay")
DEFAULT_RATE = 50.0
DEFAULT_S = 30.0
SOAK_S = 3600.0


@dataclass(frozen=True)
class LoadRequest:
    """A load. `rate_per_s` makes it an open workload, `users` a closed one; a capacity and a replay are always open.

    `rounds` is how often a capacity is closed in on, after a first search that is not analysed; 0: that one alone.
    """

    arms: tuple[str, ...] = ("treatment",)
    host: str = ""
    shape: str = "constant"
    rate_per_s: float | None = None
    users: int | None = None
    think_time_s: float = 0.04
    duration_s: float | None = None
    warm_up_s: float = 5.0
    arrivals: str = "poisson"
    workers: int = 1
    target_p99_ms: float = 50.0
    rounds: int = 6
    replay: Path | None = None
    speed: float = 1.0
    seed: int = 1
    master: bool = False
    closed_user: str = "PortfolioUser"

    @property
    def is_open(self) -> bool:
        """Whether arrivals do not wait for answers."""
        return self.rate_per_s is not None or self.shape in ("capacity", "replay")

    @property
    def seconds(self) -> float:
        """How long it takes, warm-up included; of a capacity or a replay not known here."""
        given = self.duration_s if self.duration_s is not None else SOAK_S if self.shape == "soak" else DEFAULT_S
        return given + self.warm_up_s

    def as_dict(self) -> dict[str, Any]:
        """For the run's folder."""
        return asdict(self) | {"replay": self.replay.name if self.replay else None, "host": mask_secrets(self.host)}


def check_request(system: System, request: LoadRequest, owned_host: str = "") -> None:
    """Raise LabError for what contradicts itself, must not be done, or needs Locust where that is not installed."""
    require("locust", "a load")
    if request.shape not in SHAPES:
        raise unknown_name("shape", request.shape, list(SHAPES))
    for arm in request.arms:
        if arm not in system.arms:
            raise unknown_name("arm", arm, list(system.arms))
    if request.rate_per_s is not None and request.users is not None:
        raise SettingsError("--rate is an open workload and --users a closed one: give one of them")
    if request.shape in ("capacity", "replay") and request.users is not None:
        raise SettingsError(f"--shape {request.shape} has arrivals, not users: leave --users out")
    if (request.shape == "replay") != (request.replay is not None):
        raise SettingsError("--shape replay and --replay FILE go together")
    if request.master and not request.host:
        raise SettingsError("--master has workers on other machines, which need a --host that they can reach")
    if request.host:
        _check_ours(request.host, owned_host, "--host ")
    check_arms(system, request.arms, owned_host)


def check_arms(system: System, arms: Sequence[str], owned_host: str = "") -> None:
    """Raise SettingsError for an arm that runs on another machine, which nobody has called his own."""
    for arm in arms:
        if address := system.addresses.get(arm):
            _check_ours(address, owned_host, f"arm {arm}: ")


def _check_ours(host: str, owned_host: str, where: str) -> None:
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{where}{mask_secrets(host)}: give a URL such as http://127.0.0.1:3000")
    if parts.hostname == "localhost" or parts.hostname == owned_host:
        return
    try:
        loopback = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"{parts.hostname} is not this machine, and a load is an attack on a host that is not yours; "
            f"where it is: --i-own-this-host {parts.hostname}"
        )


def check_log(path: Path) -> dict[str, Any]:
    """How many requests of an access log can be sent again, how many are left out, and its length in seconds.

    Raises LabError with the line that cannot be read.
    """
    command = [sys.executable, str(LOADTESTS / "access_log.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError((done.stderr.strip().splitlines() or ["the log cannot be read"])[-1])
    checked: dict[str, Any] = json.loads(done.stdout)
    return checked
