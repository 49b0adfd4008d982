"""One request's work: what PostgreSQL and Redis were made to do, from before it was sent until all is quiet again."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import redis

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.plan_log import PlanLog
from archzero_lab.postgres.sql_text import shape_of
from archzero_lab.postgres.statement_work import StatementName, StatementTotals, StatementWork, work_since
from archzero_lab.postgres.wal_work import Wal, WalWork
from archzero_lab.servers.counted_redis import Command
from archzero_lab.servers.counting_stack import CountingStack
from archzero_lab.servers.process import ProcessRecord
from archzero_lab.servers.quiet import family, is_waiting
from archzero_lab.systems.arms import Arm
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.work import Countable

_QUIET_S = 10.0
_PAUSE_S = 0.0005


@dataclass
class RequestWork:
    """What one request came to. `commands` are (name, keys, bytes sent, bytes answered)."""

    bytes: int = 0
    statements: dict[StatementName, StatementWork] = field(default_factory=dict)
    plans: dict[str, Counter[str]] = field(default_factory=dict)
    commands: list[tuple[str, int, int, int]] = field(default_factory=list)
    wal: WalWork = field(default_factory=WalWork)


class Looks:
    """Counts requests of one arm, one after the other. `connection` is the lab's own to the arm's database."""

    def __init__(
        self, counting: CountingStack, connection: Connection, process: ProcessRecord | None, told_apart: Countable
    ) -> None:
        self._redis = counting.redis
        self._straight = redis.Redis.from_url(counting.redis_url)
        self._connection = connection
        self._process = process
        self._countable = told_apart
        connection.execute("SET auto_explain.log_min_duration = -1")
        connection.execute("SELECT pg_stat_statements_reset()")  # migrations leave thousands, each looked at each time
        self._totals = StatementTotals(connection)
        self._wal = Wal(connection)
        self._plans = PlanLog(counting.log)
        self._pids = family(process)
        self._redis_pids = [counting.stack.redis_pid] if counting.stack.redis_pid is not None else []
        self._before = self._totals.read()
        self._own: set[int] = set()
        """Transactions of the service's own; what one of them wrote may reach the log when it has ended."""
        self.background: set[str] = set()
        """What was told apart: statements and commands of the service's own."""

    def begin(self) -> None:
        """What was done up to now is nobody's."""
        self._pids = family(self._process)
        self._before, end = self._settled()
        self._redis.take()
        self._wal.skip(end)
        self._plans.skip()

    def warm(self, arm: Arm, operation: Operation) -> None:
        """Send one request that is not counted, and wait until the service rests.

        Who asked at once again could get another connection of its pool, whose caches are cold for the first time.
        """
        arm.ask(operation)
        self._settled()

    def ask(self, arm: Arm, operation: Operation) -> RequestWork:
        """Send one request and count it. Raises MeasurementError for a wrong answer, or where the arm never rests."""
        _, size = arm.ask(operation)
        now, end = self._settled()
        counted = RequestWork(bytes=size)
        ran = self._plans.read()
        transactions = {one.transaction for one in ran if not self._is_own(one.name)}
        self._own |= {one.number for one in ran if one.number and one.transaction not in transactions}
        of_requests = set()
        for one in ran:
            if one.transaction in transactions:
                of_requests.add(one.name.mark)
                counted.plans.setdefault(one.name.mark, Counter())[one.shape] += 1
        counted.wal = self._wal.read(end, without=self._own)
        for name, work in work_since(now, self._before).items():
            if self._is_own(name) and name.mark not in of_requests:
                self.background.add(shape_of(name.text)[:100])
            else:
                counted.statements[name] = work
        self._before = now
        for command in self._redis.take():
            text = b" ".join(command.arguments).decode("utf-8", "replace")
            if self._has_mark(text):
                self.background.add(f"Redis {command.name}")
            else:
                counted.commands.append((command.name, self._keys(command), command.sent, command.answered))
        return counted

    def close(self) -> None:
        """Close what it opened."""
        self._straight.close()

    def _settled(self) -> tuple[dict[StatementName, StatementWork], str]:
        """Totals, and how far the log is, once twice running nothing runs and nothing was added.

        Both before the plans are read: a statement of the service's own that begins meanwhile is in none of the three,
        or in the plans alone.
        """
        deadline, busy = time.monotonic() + _QUIET_S, ""
        last: tuple[dict[StatementName, StatementWork], str] | None = None
        while time.monotonic() < deadline:
            busy = self._busy()
            if not busy:
                now = (self._totals.read(), self._wal.end())
                if now == last:
                    return now
                last = now
            else:
                last = None
            time.sleep(_PAUSE_S)  # polling: a service says nothing when it has done with a request
        raise MeasurementError(
            f"the service did not come to rest within {_QUIET_S:.0f} s of a request ({busy or 'it goes on asking'}):"
            " name what it does by itself in [work] background, or count without that"
        )

    def _busy(self) -> str:
        """What of the arm still works, "" where nothing does: a session that idles in a transaction rests, too.

        PostgreSQL's and Redis' own processes are looked at as well: one that is to run and has no core yet says "idle".
        """
        rows = self._connection.execute(
            "SELECT pid, state, left(query, 60) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
        for _, state, text in rows:
            if state is not None and not state.startswith("idle"):
                return f"a statement runs: {shape_of(text)}"
        if self._redis.waiting:
            return "Redis has not answered a command"
        if not is_waiting([*self._pids, *(row[0] for row in rows), *self._redis_pids]):
            return "a thread runs"
        return ""

    def _is_own(self, name: StatementName) -> bool:
        """Whether a statement alone would be the service's own; in a transaction with a request's it is not."""
        untagged = bool(self._countable.tag) and not name.inner and self._countable.tag not in name.text
        return untagged or self._has_mark(name.text)

    def _has_mark(self, text: str) -> bool:
        return any(mark in text for mark in self._countable.background)

    def _keys(self, command: Command) -> int:
        """How many keys a command names, as Redis itself reads it."""
        try:
            keys = self._straight.execute_command("COMMAND GETKEYS", *command.arguments)
        except redis.ResponseError:  # it takes none
            return 0
        return len(keys) if isinstance(keys, list) else 0
