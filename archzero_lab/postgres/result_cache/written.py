"""What both kinds of connection have in common: what one has written, and how a cursor is given a kept result."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import Format, PipelineStatus, TransactionStatus
from redis.exceptions import RedisError

from archzero_lab.errors import ServerError
from archzero_lab.postgres.result_cache.records import KeptResult, decode

NOT_HEARD = (RedisError, OSError)


class Written:
    """What a connection has touched and not ended yet, and whether it is still like any other."""

    def __init__(self) -> None:
        self.writer = uuid.uuid4().hex[:16]
        self.touched: set[str] = set()
        self.aside = False

    def may_read(self, connection: Any) -> bool:
        """Whether a result that was kept is what PostgreSQL would answer on this connection now."""
        if self.aside or self.touched or connection.closed:
            return False
        isolation = connection.isolation_level
        return (
            isolation in (None, psycopg.IsolationLevel.READ_COMMITTED)
            and connection.pgconn.pipeline_status == PipelineStatus.OFF
            and connection.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)
        )


class _KeptRows:
    """Stands where a cursor has its Transformer: rows that were kept, loaded as this cursor would load them."""

    def __init__(self, cursor: Any, result: KeptResult) -> None:
        self._rows = result.rows
        self._loading = Transformer(cursor)
        self._loading.set_loader_types([column.type for column in result.columns], Format(result.format))

    def load_row(self, row: int, make_row: Any) -> Any:
        """One row."""
        return make_row(self._loading.load_sequence(self._rows[row]))

    def load_rows(self, row: int, end: int, make_row: Any) -> list[Any]:
        """Rows from one to before another."""
        return [self.load_row(at, make_row) for at in range(row, end)]


def serve(cursor: Any, kept: bytes) -> None:
    """Let a cursor have a result that was kept as if it had executed its statement."""
    result = decode(kept)
    cursor._reset()
    cursor._last_query = None  # the next statement makes a Transformer of its own
    cursor._tx = _KeptRows(cursor, result)
    cursor.pgresult, cursor._rowcount = result, result.ntuples
    cursor._results = [result]
    cursor._statusmessage = b"SELECT %d" % result.ntuples
    cursor._make_row = cursor._make_row_maker()


def is_idle(connection: Any) -> bool:
    """Whether all that it wrote has been committed or rolled back, and PostgreSQL has said so."""
    pgconn = connection.pgconn
    return bool(pgconn.transaction_status == TransactionStatus.IDLE and pgconn.pipeline_status == PipelineStatus.OFF)


def unheard(error: Exception) -> ServerError:
    return ServerError(
        f"Redis did not hear of a write before it was sent ({type(error).__name__}), so nothing was written: a result"
        " that it changes could have been served afterwards; try again"
    )
