"""Real values of statements' parameters from a server's log: auto_explain's plans, log_statement; csvlog or stderr."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pglast import fingerprint, parse_sql, parser

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.sql_text import ast, parameters_of

_STATEMENT = re.compile(r"^(?:duration: [\d.]+ ms\s+)?(?:statement|execute [^:]*): (.*)", re.DOTALL)
_EXPLAINED = re.compile(r"^duration: [\d.]+ ms\s+plan:\s*(.*)", re.DOTALL)
_QUERY = re.compile(r"Query Text: (.*?)(?:\nQuery Parameters: (.*?))?\n\s*\S[^\n]*\(cost=", re.DOTALL)
_PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
_ENTRY = re.compile(r"\b(LOG|DETAIL|STATEMENT|HINT|CONTEXT|ERROR|WARNING|NOTICE|FATAL):  (.*)")
_MESSAGE, _DETAIL = 13, 14
"""Columns of a csvlog (PostgreSQL's documentation, Using CSV-Format Log Output)."""

Values = tuple[str | None, ...]


@dataclass
class LoggedValues:
    """The values that a log has of each statement, by the statement's fingerprint (libpg_query's): constants apart,
    two texts of one statement have the same.
    """

    seen: dict[str, list[tuple[Any, dict[int, str | None]]]] = field(default_factory=lambda: defaultdict(list))

    def of(self, text: str) -> list[Values]:
        """(common, rare, middle) sets of values of a statement's parameters, each sent together; may be none."""
        tree = parse_sql(text)[0].stmt
        wanted = parameters_of(tree)
        counted: Counter[Values] = Counter()
        for logged, parameters in self.seen.get(fingerprint(text), []):
            by_number: dict[int, str | None] = {}
            _match(tree, logged, parameters, by_number)
            if wanted and all(number in by_number for number in wanted):
                counted[tuple(by_number.get(number) for number in range(1, max(wanted) + 1))] += 1
        ordered = [values for values, _ in counted.most_common()]
        return list(dict.fromkeys((ordered[0], ordered[-1], ordered[len(ordered) // 2]))) if ordered else []


def read_log(file: Path) -> LoggedValues:
    """A server's log, csvlog or stderr. Raises SettingsError for a file that holds no statement."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"--values-from {file}: {error.strerror}") from None
    values = LoggedValues()
    for message, detail in _csv(text) if file.suffix == ".csv" else _stderr(text):
        for statement, parameters in _statements(message, detail):
            try:
                parsed: Any = parse_sql(statement)
                mark = fingerprint(statement)
            except parser.ParseError:
                continue  # cut short, or no SQL of a client's
            if len(parsed) == 1:
                values.seen[mark].append((parsed[0].stmt, parameters))
    if not values.seen:
        raise SettingsError(
            f"--values-from {file}: no statement in it; log them by log_min_duration_statement or auto_explain"
        )
    return values


def _csv(text: str) -> Iterator[tuple[str, str]]:
    for row in csv.reader(io.StringIO(text)):
        if len(row) > _DETAIL:
            yield row[_MESSAGE], row[_DETAIL]


def _stderr(text: str) -> Iterator[tuple[str, str]]:
    """Messages with their details; a line that begins with a tab goes on with the one before."""
    message, detail, into = "", "", ""
    for line in text.splitlines():
        if line.startswith("\t"):
            message, detail = (
                (f"{message}\n{line[1:]}", detail) if into == "LOG" else (message, f"{detail}\n{line[1:]}")
            )
            continue
        entry = _ENTRY.search(line)
        into = entry[1] if entry else ""
        if entry and into == "DETAIL":
            detail = entry[2]
            continue
        if message:
            yield message, detail
        message, detail = (entry[2], "") if entry and into == "LOG" else ("", "")
    if message:
        yield message, detail


def _statements(message: str, detail: str) -> Iterator[tuple[str, dict[int, str | None]]]:
    if explained := _EXPLAINED.match(message):
        if explained[1].startswith("{"):
            try:
                entry = json.loads(explained[1])
            except ValueError:
                return
            yield str(entry.get("Query Text", "")), _parameters(str(entry.get("Query Parameters", "")))
        elif match := _QUERY.search(explained[1]):
            yield match[1], _parameters(match[2] or "")
    elif plain := _STATEMENT.match(message):
        yield plain[1], _parameters(detail)


def _parameters(text: str) -> dict[int, str | None]:
    """`$1 = 'it''s', $2 = NULL` as PostgreSQL writes it."""
    return {
        int(number): None if value == "NULL" else value[1:-1].replace("''", "'")
        for number, value in _PARAMETER.findall(text)
    }


def _match(one: Any, other: Any, parameters: dict[int, str | None], values: dict[int, str | None]) -> None:
    """Walk two trees of one statement side by side: where one has a parameter the other has what was sent."""
    if isinstance(one, ast.ParamRef):
        if isinstance(other, ast.ParamRef):
            if other.number in parameters:
                values[one.number] = parameters[other.number]
        elif isinstance(other, ast.TypeCast):
            _match(one, other.arg, parameters, values)
        elif isinstance(other, ast.A_Const):
            values[one.number] = _constant(other)
    elif isinstance(one, ast.TypeCast) and isinstance(one.arg, ast.ParamRef):
        _match(one.arg, other, parameters, values)
    elif isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        for a, b in zip(one, other, strict=False):
            _match(a, b, parameters, values)
    elif isinstance(one, ast.Node) and type(one) is type(other):
        for name in one.__slots__:
            _match(getattr(one, name, None), getattr(other, name, None), parameters, values)


def _constant(node: Any) -> str | None:
    if node.isnull:
        return None
    value = node.val
    for name in ("sval", "fval", "bsval"):
        if hasattr(value, name):
            return str(getattr(value, name))
    if hasattr(value, "boolval"):
        return "true" if value.boolval else "false"
    return str(getattr(value, "ival", 0) or 0)
