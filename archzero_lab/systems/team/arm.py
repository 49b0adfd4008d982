"""A team's arm: its service at a URL, with the counters of its own database and Redis, and its answers noted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from archzero_lab.errors import LabError, MeasurementError, mask_secrets
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.database_counters import database_counters
from archzero_lab.servers.process import ProcessRecord
from archzero_lab.systems.arms import Counters, NotReset
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.http import metrics, request
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.team.answers import AnswersSeen
from archzero_lab.systems.team.project_tables import CounterEntry, Reset
from archzero_lab.systems.team.shell import run_command

_TRIES = 3
_ABOUT_CONNECTIONS = ("info", "hello", "auth", "client", "select", "ping", "command")


@dataclass(frozen=True)
class Place:
    """Where an arm is: its service, the database and Redis that it alone uses ("": none), its tree.

    `owned` says that database and Redis are ours to write to; another's are read. `may_write`: so may its service.
    `apart`: its service has another role in the database than we, so that what we ask there is told from what it asks.
    """

    name: str
    url: str
    database: str = ""
    redis: str = ""
    owned: bool = False
    may_write: bool = False
    apart: bool = False
    tree: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    process: ProcessRecord | None = None
    verify: bool | str = True


class TeamArm:
    """Implements systems.arms.Arm over HTTP. `close()` when done."""

    def __init__(
        self, place: Place, reset: str | Reset, counters: Mapping[str, CounterEntry], seen: AnswersSeen
    ) -> None:
        self.name = place.name
        self.url = place.url
        self.process = place.process
        self.cookies = ""
        """What its login set, sent with every request."""
        self._place = place
        self._counters = counters
        self._seen = seen
        self._driver = Driver(place.url, verify=place.verify)
        self._connection: Connection | None = connect(place.database, autocommit=True) if place.database else None
        self._redis = (
            redis.Redis.from_url(place.redis, socket_timeout=10, decode_responses=True) if place.redis else None
        )
        self._reset = self._how_to_reset(reset)
        self.counts_statements = self._has_statements()
        """Whether its PostgreSQL counts statements; without that blocks come from pg_stat_database."""

    def reset(self) -> None:
        """Empty what the team's file says; what was too slow for once is asked again.

        Raises NotReset where it is too slow each time, MeasurementError where it fails.
        """
        for number in range(1, _TRIES + 1):
            try:
                self._reset()
                return
            except (redis.TimeoutError, httpx.TimeoutException) as error:
                if number == _TRIES:
                    raise NotReset(f"reset of arm {self.name}: {mask_secrets(str(error))}") from None
            except (redis.RedisError, httpx.HTTPError, LabError) as error:
                raise MeasurementError(f"reset of arm {self.name}: {error}") from None

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Send one request and wait: (service_time_s, bytes). What it answered is noted, outside of its time.

        Raises MeasurementError for a wrong answer, and for a request that writes where the arm may not be written to.
        """
        if operation.method not in ("GET", "HEAD") and not self._place.may_write:
            raise MeasurementError(
                f"{operation.method} {operation.path} is not sent to arm {self.name}: may_write = true in "
                f"[arms.{self.name}] allows it"
            )
        elapsed_s, body = self._driver.answer(self.as_sent(operation))
        self._seen.note(self.name, operation, operation.status, self._driver.unpacked(body))
        return elapsed_s, len(body)

    def look(self, operation: Operation) -> tuple[float, int, bytes]:
        """Send one request, whatever it answers: (service_time_s, status, body unpacked)."""
        elapsed_s, status, body = self._driver.send(self.as_sent(operation))
        return elapsed_s, status, self._driver.unpacked(body)

    @property
    def head(self) -> bytes:
        """The head of the last answer, as it came."""
        return self._driver.raw_head

    def as_sent(self, operation: Operation) -> Operation:
        """With the cookies of its login."""
        if not self.cookies:
            return operation
        return replace(operation, headers=(*operation.headers, ("Cookie", self.cookies)))

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) of its Redis."""
        info = self._info()
        return int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))

    def counters(self) -> Counters:
        """Its database's statements, time and blocks, its Redis' hits and misses, the team's own totals."""
        info = self._info()
        own = {name: self._own(name, entry, info) for name, entry in self._counters.items()}
        hits, misses = int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))
        return replace(self.database_counters(), hits=hits, misses=misses, own=own, redis_calls=_commands(info))

    def close(self) -> None:
        """Close connections."""
        self._driver.close()
        if self._connection is not None:
            self._connection.close()
        if self._redis is not None:
            self._redis.close()

    def _how_to_reset(self, reset: str | Reset) -> Callable[[], object]:
        if isinstance(reset, Reset):
            if reset.redis_keys:
                return lambda: self._delete(reset.redis_keys)
            return (lambda: self._post(reset.post)) if reset.post else (lambda: self._command(reset.command))
        if reset == "redis" and self._redis is not None and self._place.owned:
            return self._redis.flushdb
        return lambda: None

    def _delete(self, pattern: str) -> None:
        if self._redis is None:
            return
        if not self._place.owned:
            raise MeasurementError("its Redis is not the lab's, and nothing of it is deleted; use post, or none")
        for key in self._redis.scan_iter(pattern, count=1_000):
            self._redis.unlink(key)

    def _post(self, path: str) -> None:
        answer = request(self.url, "POST", path)
        if not answer.is_success:
            raise MeasurementError(f"POST {self.url}{path} answered {answer.status_code}")

    def _command(self, text: str) -> None:
        run_command(text, self._place.tree or Path.cwd(), self._place.variables, "the reset command")

    def _info(self) -> Mapping[str, Any]:
        if self._redis is None:
            return {}
        try:
            info: dict[str, Any] = self._redis.info("all")
        except redis.RedisError as error:
            raise MeasurementError(f"Redis of arm {self.name} ({mask_secrets(self._place.redis)}): {error}") from None
        return info

    def _has_statements(self) -> bool:
        if self._connection is None:
            return False
        try:
            database_counters(self._connection, "")
        except psycopg.Error:
            return False
        return True

    def database_counters(self) -> Counters:
        """Its database's alone; None each where they are not to be had."""
        unknown = Counters(0, 0, None, None, None)
        if self._connection is None:
            return unknown
        try:
            if self.counts_statements:
                counters = database_counters(self._connection, "", of_others=self._place.apart)
                return replace(
                    unknown, statements=counters.statements, database_s=counters.execution_s,
                    blocks=counters.blocks_hit + counters.blocks_read, rows=counters.rows,
                    temporary_blocks=counters.temporary_blocks, wal_bytes=counters.wal_bytes,
                    by_statement=counters.by_statement,
                )  # fmt: skip
            row = self._connection.execute(
                "SELECT (blks_hit + blks_read)::bigint FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        except psycopg.Error as error:
            raise MeasurementError(f"counters of arm {self.name}: {error.diag.message_primary or error}") from None
        return replace(unknown, blocks=int(row[0])) if row else unknown

    def _own(self, name: str, entry: CounterEntry, info: Mapping[str, Any]) -> float:
        """One of the team's totals. Raises MeasurementError where it is not to be had, or no number."""
        if entry.prometheus:
            samples = metrics(self.url)
            if entry.prometheus not in samples:
                raise MeasurementError(f"counter {name}: {self.url}/metrics has no sample {entry.prometheus}")
            return samples[entry.prometheus]
        if entry.redis:
            field = info.get(entry.redis)
            if not isinstance(field, int | float):
                raise MeasurementError(f"counter {name}: Redis' INFO of arm {self.name} has no number {entry.redis}")
            return float(field)
        return self._number(name, entry.sql)

    def _number(self, name: str, text: str) -> float:
        if self._connection is None:
            raise MeasurementError(f"counter {name} is SQL, and arm {self.name} has no database to ask")
        try:
            with self._connection.transaction():
                self._connection.execute("SET LOCAL TRANSACTION READ ONLY")
                self._connection.execute("SET LOCAL statement_timeout = '10s'")
                row = self._connection.execute(text.encode(), prepare=True).fetchone()
            return float(row[0]) if row else 0.0
        except psycopg.Error as error:
            raise MeasurementError(f"counter {name}: {error.diag.message_primary or error}") from None
        except (TypeError, ValueError):
            raise MeasurementError(f"counter {name}: {text} gives no number") from None


def _commands(info: Mapping[str, Any]) -> int | None:
    """The commands of a Redis, without those that open a connection or look at it; None where it does not tell."""
    calls = [
        (name.removeprefix("cmdstat_").partition("|")[0], int(entry["calls"])) for name, entry in info.items()
        if name.startswith("cmdstat_") and isinstance(entry, dict)
    ]  # fmt: skip
    return sum(number for name, number in calls if name not in _ABOUT_CONNECTIONS) if calls else None


def said(body: bytes) -> str:
    """The start of an answer, for an error."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False)[:200]
    except ValueError:
        return body[:200].decode("utf-8", "replace")
