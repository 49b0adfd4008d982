"""A program run between a primary and a replica that lags: what it read too early, named."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.replicas.fills import Fills
from archzero_lab.jobs.replicas.relays import Relays, Seen
from archzero_lab.jobs.replicas.stale import StaleRead
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.process import ProcessRegistry
from archzero_lab.servers.redis_server import start_redis
from archzero_lab.servers.replicas import Lag, Replicated, replicated
from archzero_lab.servers.server_home import server_home
from archzero_lab.settings import STATE

LINES = Path(__file__).with_name("lines")
_DATABASE = "app"
_HEARD_S = 3.0
"""A program that is interrupted ends within this, or is asked more firmly."""


@dataclass(frozen=True)
class Asked:
    """What is run, and how: `primary` and `replica` are the variables that get the URLs, `load` a file of SQL.

    `number` 0 is the control: both URLs are the primary's, and nothing can be stale.
    """

    command: Sequence[str]
    lag: Lag
    number: int = 1
    load: Path | None = None
    primary: str = "DATABASE_URL"
    replica: str = "REPLICA_URL"
    redis: str = ""


@dataclass(frozen=True)
class Place:
    """One place that read too early: its statement, endpoint and line, with all of its stale reads."""

    statement: str
    endpoint: str
    line: str
    reads: tuple[StaleRead, ...]

    @property
    def own(self) -> int:
        """Reads that did not see what their own process had written."""
        return sum(read.own for read in self.reads)

    @property
    def fills(self) -> list[str]:
        """Names in Redis that were filled with what was stale."""
        return sorted({key for read in self.reads for key in read.filled})


@dataclass(frozen=True)
class Lagged:
    """What came of it: the command's own exit code, and what went through the relays."""

    code: int
    seconds: float
    seen: Seen

    def places(self) -> list[Place]:
        """Where stale reads were, those of one's own writes first."""
        by_place: defaultdict[tuple[str, str, str], list[StaleRead]] = defaultdict(list)
        for read in self.seen.stale:
            by_place[read.statement.text, read.statement.endpoint, read.statement.line].append(read)
        places = [Place(*where, tuple(reads)) for where, reads in by_place.items()]
        return sorted(places, key=lambda place: (-place.own, -len(place.reads), place.line))


def run_lagged(programs: Path, redis_program: Path | None, registry: ProcessRegistry, request: Asked) -> Lagged:
    """Run a command on a primary and a replica of its own, which lags from the command's beginning on.

    Raises LabError for servers that do not come up, a file of SQL that does not run, a command that cannot be started.
    """
    with ExitStack() as closing:
        pair = closing.enter_context(replicated(programs, registry, request.number))
        urls = _app_urls(pair)
        if request.load is not None:
            _load(urls["primary"], request.load)
        pair.wait_until_replayed()
        pair.hold_back(request.lag)
        relays = closing.enter_context(Relays(*(_as_superuser(pair, role) for role in ("primary", "replica"))))
        environment = {
            request.primary: relays.through("primary", urls["primary"]),
            request.replica: relays.through("replica", urls["replica"]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(LINES), os.environ.get("PYTHONPATH", "")])),
        }
        if request.redis:
            assert redis_program is not None
            url = closing.enter_context(_redis(redis_program, registry))
            closing.enter_context(Fills(url, relays.seen))
            environment[request.redis] = url
        began = time.monotonic()
        code = _run(request.command, environment)
        return Lagged(code, time.monotonic() - began, relays.seen)


def _app_urls(pair: Replicated) -> dict[str, str]:
    """An ordinary role with a database of its own, as an application has one, on both servers."""
    password = secrets.token_urlsafe(18)
    with connect(pair.primary.url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                sql.Identifier(_DATABASE), sql.Literal(password)
            )
        )
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(_DATABASE)))
    servers = {"primary": pair.primary, "replica": pair.replicas[0] if pair.replicas else pair.primary}
    urls = {}
    for role, server in servers.items():
        place = server.url.rpartition("@")[2].partition("/")[0]
        urls[role] = f"postgresql://{_DATABASE}:{password}@{place}/{_DATABASE}?sslmode=disable"
    return urls


def _as_superuser(pair: Replicated, role: str) -> str:
    server = pair.replicas[0] if role == "replica" and pair.replicas else pair.primary
    return database_url(server.url, _DATABASE)


def _load(url: str, file: Path) -> None:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {file}: {error}") from None
    with connect(url, autocommit=True) as connection:
        try:
            connection.execute(text.encode())
        except Exception as error:
            raise LabError(f"{file}: {str(error).splitlines()[0]}") from None


@contextmanager
def _redis(program: Path, registry: ProcessRegistry) -> Iterator[str]:
    server = start_redis(program, server_home(STATE), registry, name=f"redis-{secrets.token_hex(4)}")
    try:
        yield server.url
    finally:
        registry.stop(server.record)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit code; an interrupt is its own to answer first, and ends it for certain."""
    try:
        process = subprocess.Popen(list(command), env={**os.environ, **environment})
    except OSError as error:
        raise LabError(f"cannot start {command[0]}: {error.strerror}") from None
    try:
        return process.wait()
    except KeyboardInterrupt:  # a terminal's has reached it too; one that was sent to the lab alone has not
        for number in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_HEARD_S)
        return process.wait()
