"""Stale reads: what a replica answered and the primary would not have, named by statement, endpoint, line and cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import pglast
from pglast import ast, visitors

_COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
_TAG = re.compile(r"(\w+)='((?:[^']|'')*)'")
_VOLATILE = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|random|gen_random_uuid|uuid_generate_\w+"
    r"|pg_\w+|txid_\w+|nextval|currval|lastval|inet_\w+|current_(timestamp|time|date)|localtime(stamp)?|age)\b",
    re.IGNORECASE,
)
Row = tuple[bytes | None, ...]


@dataclass(frozen=True)
class Statement:
    """A statement as it is named: its text without comments, the tables it reads or writes, where it comes from.

    `line` is a file and line of Python, `endpoint` a path or route, as comments in the statement say (the lab's own in
    Python programs, sqlcommenter's elsewhere); "" where none does.
    """

    text: str
    tables: frozenset[str]
    writes: bool
    reads: bool
    line: str = ""
    endpoint: str = ""


@dataclass(frozen=True)
class Written:
    """A write that was acknowledged on the primary: when (monotonic s), by which process (its pid, 0: not known)."""

    at: float
    statement: Statement
    pid: int


@dataclass
class StaleRead:
    """A read that a replica answered as of before a write: `own` where the same process had made that one.

    `filled` are names in Redis that the same process wrote with what was stale in it.
    """

    at: float
    statement: Statement
    pid: int
    cause: Written | None
    own: bool
    cells: frozenset[bytes]
    filled: list[str] = field(default_factory=list)


@lru_cache(4_096)
def named(text: str) -> Statement:
    """A statement by its text. One that PostgreSQL's parser does not take reads and writes nothing that is known."""
    tags: dict[str, str] = {}
    for comment in _COMMENT.findall(text):
        tags |= {key: unquote(value) for key, value in _TAG.findall(comment)}
    bare = " ".join(_COMMENT.sub(" ", text).split())
    line, endpoint = tags.get("lab_line", ""), tags.get("lab_path") or tags.get("route") or tags.get("path", "")
    try:
        parsed = pglast.parse_sql(text)
    except pglast.parser.ParseError:
        return Statement(bare, frozenset(), writes=False, reads=False, line=line, endpoint=endpoint)
    tables = _Tables()
    tables(parsed)
    reads = any(isinstance(one.stmt, ast.SelectStmt) and not one.stmt.lockingClause for one in parsed)
    return Statement(bare, frozenset(tables.names), tables.writes, reads and not tables.writes, line, endpoint)


class _Tables(visitors.Visitor):
    """Names of the tables of a statement, and whether it writes any."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.writes = False

    def visit_RangeVar(self, ancestors: Any, node: Any) -> None:
        self.names.add(node.relname)

    def _write(self, ancestors: Any, node: Any) -> None:
        self.writes = True

    visit_InsertStmt = visit_UpdateStmt = visit_DeleteStmt = visit_MergeStmt = _write
    visit_TruncateStmt = visit_CopyStmt = _write


def is_volatile(statement: Statement) -> bool:
    """Whether two runs of it may differ by themselves."""
    return bool(_VOLATILE.search(statement.text))


def difference(replica: Sequence[Row], primary: Sequence[Row]) -> frozenset[bytes]:
    """Cells of the replica's rows that the primary's have not; empty for equal rows, in whatever order.

    Rows that are missing alone give b"" for what is not there.
    """
    if sorted(map(_key, replica)) == sorted(map(_key, primary)):
        return frozenset()
    fresh = {cell for row in primary for cell in row}
    return frozenset(cell for row in replica for cell in row if cell is not None and cell not in fresh) or frozenset(
        [b""]
    )


def _key(row: Row) -> tuple[tuple[bool, bytes], ...]:
    return tuple((cell is not None, cell or b"") for cell in row)


def cause_of(read: Statement, pid: int, at: float, writes: Iterable[Written]) -> tuple[Written | None, bool]:
    """The write that a stale read did not see: the last of its own process on one of its tables, else anyone's."""
    before = [one for one in writes if one.at <= at and one.statement.tables & read.tables]
    own = [one for one in before if pid and one.pid == pid]
    last = max(own or before, key=lambda one: one.at, default=None)
    return last, bool(own)
