"""The file of a count: a few kB of TOML that a team commits and reads in a diff, written and read back the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.work.conditions import BOOKKEEPING
from archzero_lab.jobs.work.counted import Counted, CountedKind, CountedPass, CountedStatement, statement_mark
from archzero_lab.jobs.work.format_1 import of_format_1
from archzero_lab.jobs.work.lines import (
    command_line,
    inner_line,
    read_command,
    read_inner,
    read_statement,
    read_wal,
    statement_line,
    wal_line,
)
from archzero_lab.settings import COMMAND

_FORMAT = 2
_HEAD = f"""\
# What requests make PostgreSQL and Redis do, by `{COMMAND} work`; `{COMMAND} gate --work` holds the code against it.
# Of a read the sum over its requests, cache emptied and asked `again`; of a write a typical one. `inner`: by triggers.
"""


class Tolerance(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """By how much of itself a counter may grow before that is a finding; 0.02 is 2 %."""

    calls: float = 0.0
    rows: float = 0.0
    blocks: float = 0.0
    temporary: float = 0.0
    bytes: float = 0.0
    keys: float = 0.0
    sent: float = 0.0
    answered: float = 0.0
    wal: float = 0.0
    wal_bytes: float = 0.0


class Baseline(msgspec.Struct):
    """A count as a file holds it, with what may differ from it."""

    counted: Counted
    tolerance: Tolerance


def write_baseline(path: Path, counted: Counted, tolerance: Tolerance | None = None) -> int:
    """Write a count; its length in bytes. Raises SettingsError where the file cannot be written."""
    text = to_toml(counted, tolerance or Tolerance())
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file that can be written") from None
    return len(text.encode())


def read_baseline(path: Path) -> Baseline:
    """A file's count. Raises SettingsError for what is none."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}; write one with {COMMAND} work --save {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}; mend the line, or count anew") from None
    written = tables.pop("format", None)
    if written not in (1, _FORMAT):
        raise SettingsError(f"{path.name} is no count of format {_FORMAT}: write one with {COMMAND} work --save {path}")
    try:
        if written == 1:
            tables = of_format_1(tables)
        texts, plans = tables.pop("statements", {}), tables.pop("plans", {})
        tolerance = msgspec.convert(tables.pop("tolerance", {}), Tolerance)
        of = tables.pop("of")
        requests = int(of["asked"])
        kinds = {name: _kind(kind, requests, texts, plans) for name, kind in tables.pop("request", {}).items()}
        return Baseline(msgspec.convert({**of, "kinds": kinds}, Counted), tolerance)
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise SettingsError(f"{path.name} is no whole count ({error}): write one with {COMMAND} work --save") from None


def to_toml(counted: Counted, tolerance: Tolerance) -> str:
    """A count as a file holds it; texts and plans are written once, whichever kinds have them."""
    texts: dict[str, str] = {}
    plans: dict[str, str] = {}
    parts = [line for name, kind in counted.kinds.items() for line in _lines(name, kind, counted.asked, texts, plans)]
    of = {name: getattr(counted, name) for name in ("system", "arm", "size", "seed", "asked", "postgres")}
    lines = [
        _HEAD + f"format = {_FORMAT}",
        "",
        "[of]",
        *(f"{name} = {_value(value)}" for name, value in of.items()),
    ]
    if counted.only:
        lines.append(f"only = [{', '.join(map(_string, counted.only))}]")
    if counted.to_vacuum is not None:
        lines.append(f"to_vacuum = {_inline(counted.to_vacuum)}")
    if counted.reason:
        lines.append(f"reason = {_string(counted.reason)}")
    kept = {name: rows for name, rows in counted.tables.items() if rows and name.rpartition(".")[2] not in BOOKKEEPING}
    lines.append("tables = " + _inline(kept))
    if given := msgspec.to_builtins(tolerance):
        lines += ["", "[tolerance]", *(f"{name} = {value}" for name, value in given.items())]
    lines += parts
    lines += ["", "[statements]", *(f"{mark} = {_string(text)}" for mark, text in sorted(texts.items()))]
    if plans:
        lines += ["", "[plans]", *(f"{mark} = {_text(shape)}" for mark, shape in sorted(plans.items()))]
    return "\n".join(lines) + "\n"


def _lines(name: str, kind: CountedKind, usual: int, texts: dict[str, str], plans: dict[str, str]) -> Iterator[str]:
    yield ""
    yield f"[request.{_key(name)}]"
    if kind.requests != usual:
        yield f"requests = {kind.requests}"
    if kind.writes:
        yield "writes = true"
    if kind.drawn:
        yield f"drawn = {_string(kind.drawn)}"
    yield from _of_pass(kind.first, texts, plans)
    if kind.again is not None:
        lines = list(_of_pass(kind.again, texts, plans, kind.first.bytes))
        # asked again, what is served from the process itself makes nobody do anything
        yield from (f"again.{line}" for line in lines) if lines else ["again = {}"]


def _of_pass(
    counted: CountedPass, texts: dict[str, str], plans: dict[str, str], first_bytes: int | None = None
) -> Iterator[str]:
    if counted.bytes is not None and counted.bytes != first_bytes:
        yield f"bytes = {counted.bytes}"
    inner = {}
    for name, statement in counted.statements.items():
        mark = name.removesuffix(" inner")
        texts[mark] = statement.sql
        if statement.inner:
            inner[mark] = statement.calls
        else:
            yield f"statement.{mark} = {_string(statement_line(statement, plans))}"
    if inner:
        yield f"inner = {_string(inner_line(inner))}"
    for command, work in counted.redis.items():
        yield f"redis.{_key(command)} = {_string(command_line(work))}"
    if counted.wal:
        yield f"wal = {_string(wal_line(counted.wal, counted.wal_bytes))}"


def _kind(kind: Mapping[str, Any], usual: int, texts: Mapping[str, str], plans: Mapping[str, str]) -> CountedKind:
    again = kind.get("again")
    return CountedKind(
        requests=int(kind.get("requests", usual)),
        first=_pass(kind, texts, plans),
        writes=bool(kind.get("writes", False)),
        again=_pass({"bytes": kind.get("bytes"), **again}, texts, plans) if again is not None else None,
        drawn=str(kind.get("drawn", "")),
    )


def _pass(given: Mapping[str, Any], texts: Mapping[str, str], plans: Mapping[str, str]) -> CountedPass:
    statements = {
        statement_mark(mark): read_statement(line, texts.get(mark, mark), plans)
        for mark, line in given.get("statement", {}).items()
    }
    for mark, calls in read_inner(given.get("inner", "")):
        statements[statement_mark(mark) + " inner"] = CountedStatement(texts.get(mark, mark), calls, inner=True)
    records, size = read_wal(given["wal"]) if "wal" in given else ({}, 0)
    return CountedPass(
        bytes=given.get("bytes"),
        statements=dict(sorted(statements.items())),
        redis={name: read_command(line) for name, line in given.get("redis", {}).items()},
        wal=records,
        wal_bytes=size,
    )


def _inline(row: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{_key(name)} = {_value(value)}" for name, value in row.items()) + " }"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _inline(value)
    return _string(value) if isinstance(value, str) else str(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _string(name)


def _text(shape: str) -> str:
    """Lines as they are, where no name in them ends such a text."""
    return _string(shape) if "'''" in shape or "\x7f" in shape else f"'''\n{shape}'''"


def _string(text: str) -> str:
    """A basic string of TOML, whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
