"""SQL read by PostgreSQL's own parser: a file's statements with their lines, what each is, its parameters, its shape.

The one reader of migrations and queries: what copies, lints, measures and applies a file takes its statements here.
psql's own commands are no SQL, and what runs programs or reads files of the server is not run for anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pglast import ast as _ast
from pglast import parse_sql, parser, scan
from pglast.enums.parsenodes import ObjectType
from pglast.stream import RawStream
from pglast.visitors import Visitor

from archzero_lab.errors import SettingsError

_PLACEHOLDER = re.compile(r"%\(\w+\)s|%[sbt]")
"""psycopg's own, which is no SQL."""
_LIST = re.compile(r"\(\?(?:\s*,\s*\?)+\)")
_ROWS = re.compile(r"^\s*COPY\b[^;]*\bFROM\s+stdin\b[^;]*;", re.IGNORECASE | re.MULTILINE)
_CONSTANTS = ("ICONST", "FCONST", "SCONST", "BCONST", "XCONST", "USCONST", "PARAM")
ast: Any = _ast
"""Its stubs make every field optional, also those that the parser always fills."""
_ALONE = (ast.VacuumStmt, ast.AlterSystemStmt, ast.CreatedbStmt, ast.DropdbStmt, ast.CreateTableSpaceStmt)


@dataclass(frozen=True)
class SqlStatement:
    """One statement of a text: as it was written, the line (from 1) where it begins, its syntax tree."""

    text: str
    line: int
    node: Any

    @property
    def bare(self) -> str:
        """It on one line, without comments."""
        return str(RawStream(comments=None)(self.node))

    @property
    def begins_or_ends(self) -> bool:
        """Whether it is BEGIN, COMMIT or alike."""
        return isinstance(self.node, ast.TransactionStmt)

    @property
    def concurrently(self) -> bool:
        """Whether it works on an index CONCURRENTLY."""
        if isinstance(self.node, ast.ReindexStmt):
            return any(option.defname == "concurrently" for option in self.node.params or ())
        return bool(getattr(self.node, "concurrent", False))

    @property
    def alone(self) -> bool:
        """Whether PostgreSQL runs it in no transaction with others."""
        whole = isinstance(self.node, ast.ReindexStmt) and self.node.kind.name in (
            "REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE",
        )  # fmt: skip
        return self.concurrently or whole or isinstance(self.node, _ALONE)

    @property
    def lock_alone(self) -> str:
        """Of a statement that runs alone the lock that PostgreSQL's manual says of it; "" for none of a table."""
        if self.concurrently:
            return "ShareUpdateExclusiveLock"
        if isinstance(self.node, ast.VacuumStmt) and self.node.is_vacuumcmd:
            full = any(option.defname == "full" for option in self.node.options or ())
            return "AccessExclusiveLock" if full else "ShareUpdateExclusiveLock"
        return ""

    @property
    def wants_rows(self) -> bool:
        """Whether it may fail for want of rows alone, whatever the error."""
        return isinstance(self.node, ast.RefreshMatViewStmt)

    @property
    def new_index(self) -> Any:
        """The index that it makes."""
        return self.node if isinstance(self.node, ast.IndexStmt) else None


def read_file(file: Path) -> list[SqlStatement]:
    """The statements of a file. Raises SettingsError naming file and line for what cannot be read or is not run."""
    return read_statements(text_of(file), file.name)


def text_of(file: Path) -> str:
    """A file's text. Raises SettingsError, with the line, for what is no UTF-8."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; give a file of SQL") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError(f"{file.name} line {line}: not UTF-8; save the file as UTF-8") from None


def read_statements(text: str, name: str) -> list[SqlStatement]:
    """The statements of a text. Raises SettingsError with the line of the first that is no SQL or is not run."""
    try:
        nodes: Any = parse_sql(text)
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise SettingsError(_no_sql(text, at, name, str(error.args[0]))) from None
    statements = []
    for raw in nodes:
        end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(text)
        begin = raw.stmt_location + _leading_comments(text[raw.stmt_location : end])
        line = text.count("\n", 0, begin) + 1
        _refuse_programs(raw.stmt, f"{name} line {line}")
        statements.append(SqlStatement(text[begin:end].strip(), line, raw.stmt))
    return statements


def parameters_of(node: Any) -> list[int]:
    """The numbers of a tree's parameters ($1, $2, …), each once, in order."""
    return sorted({node_below.number for node_below in walk(node) if isinstance(node_below, ast.ParamRef)})


def paging_of(node: Any) -> dict[int, str]:
    """Parameters that a statement limits or skips by, "LIMIT" or "OFFSET"."""
    paging: dict[int, str] = {}
    for select in walk(node):
        if isinstance(select, ast.SelectStmt):
            for part, word in ((select.limitCount, "LIMIT"), (select.limitOffset, "OFFSET")):
                paging |= dict.fromkeys(parameters_of(part), word) if part is not None else {}
    return paging


def walk(node: Any) -> Iterator[Any]:
    """Every node of a syntax tree."""
    seen: list[Any] = []

    class Everything(Visitor):
        def visit(self, _: Any, visited: Any) -> None:
            seen.append(visited)

    Everything()(node)
    return iter(seen)


def nodes_of(text: str) -> list[Any]:
    """Every node of a text's statements. Raises SettingsError for what is no SQL."""
    return [node for statement in read_statements(text, "statement") for node in walk(statement.node)]


def dropped_index_names(node: Any) -> list[str]:
    """The indexes that a statement drops, as SQL names them; none of one that does anything else."""
    if not isinstance(node, ast.DropStmt) or node.removeType != ObjectType.OBJECT_INDEX:
        return []
    return [".".join(f'"{part.sval}"' for part in name) for name in node.objects]


def concurrent_index(statement: SqlStatement) -> str:
    """The index of a statement built CONCURRENTLY, and only where there is none of its name."""
    node = ast.IndexStmt(statement.node())  # a copy
    node.concurrent, node.if_not_exists = True, True
    return str(RawStream()(node))


def index_of(statement: SqlStatement, name: str, schema: str, table: str, *, whole: bool = False) -> str:
    """A statement's index under another name on another table, where there is none of its name.

    CONCURRENTLY; `whole`: that of a partitioned table itself, without its partitions', which takes no time.
    """
    node = ast.IndexStmt(statement.node())
    relation = ast.RangeVar(statement.node.relation())
    relation.schemaname, relation.relname, relation.inh = schema, table, not whole
    node.idxname, node.relation, node.concurrent, node.if_not_exists = name, relation, not whole, True
    return str(RawStream()(node))


def shape_of(text: str) -> str:
    """A statement with its literals and parameters as ?, lists of them as one, in single spaces.

    >>> shape_of("SELECT *  FROM cards WHERE id IN (1, 2, 3) AND name = 'x'")
    'SELECT * FROM cards WHERE id IN (?) AND name = ?'
    """
    plain = _PLACEHOLDER.sub("$1", text)
    try:
        tokens = scan(plain)
    except parser.ParseError:
        return " ".join(plain.split())
    words: list[str] = []
    end = 0
    for token in tokens:
        if token.name in ("SQL_COMMENT", "C_COMMENT"):
            continue
        gap = " " if words and token.start > end else ""
        word = "?" if token.name in _CONSTANTS else plain[token.start : token.end + 1]
        end = token.end + 1
        words.append(gap + word)
    return _LIST.sub("(?)", "".join(words))


def _no_sql(text: str, at: int, name: str, reason: str) -> str:
    """What to say of a text that the parser ends at: psql's commands and COPY's rows are the usual ones."""
    number = _line(text, at)
    line = text.splitlines()[number - 1].strip() if text else ""
    if line.startswith("\\"):
        return f"{name} line {number}: {line[:40]} is a command of psql's, not SQL: it is not run; leave it out"
    rows = [match for match in _ROWS.finditer(text) if match.end() <= at]
    if rows:
        began = text[: rows[-1].end()].count("\n") + 1
        return f"{name} line {began}: COPY of standard input or output is not run; write the rows as INSERT"
    return f"{name} line {number}: {reason}; correct it and run again"


def _refuse_programs(node: Any, where: str) -> None:
    if not isinstance(node, ast.CopyStmt):
        return
    if node.is_program:
        raise SettingsError(f"{where}: COPY … PROGRAM runs a program on the server: it is not run; leave it out")
    what = f"the server's file {node.filename}" if node.filename else "standard input or output"
    raise SettingsError(f"{where}: COPY of {what} is not run; write the rows as INSERT")


def _leading_comments(text: str) -> int:
    """How many characters come before a statement's first word."""
    return next((token.start for token in scan(text) if token.name not in ("SQL_COMMENT", "C_COMMENT")), 0)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def shortened(text: str, most: int) -> str:
    """Of a long statement its beginning and its condition: what a reader knows it again by."""
    begin, _, condition = text.partition(" WHERE ")
    if len(text) > most and condition:
        text = f"{begin[: most // 3]}… WHERE {condition}"
    return text if len(text) <= most else f"{text[: most - 1]}…"
