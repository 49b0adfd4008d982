"""Counts of the first format, tables instead of lines: files that teams have committed stay readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from archzero_lab.jobs.work.counted import CountedCommand, CountedStatement
from archzero_lab.jobs.work.lines import command_line, inner_line, statement_line, wal_line


def of_format_1(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The same file's tables as the second format has them. Raises KeyError, TypeError or ValidationError."""
    requests = {name: _of_pass(kind) for name, kind in tables.get("request", {}).items()}
    return {**tables, "request": requests}


def _of_pass(given: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(given)
    if "again" in given:
        changed["again"] = _of_pass(given["again"])
    if "statement" in given:
        changed["statement"] = {mark: _statement(row) for mark, row in given["statement"].items()}
    if "inner" in given:
        changed["inner"] = inner_line(given["inner"])
    if "redis" in given:
        changed["redis"] = {
            name: command_line(msgspec.convert(row, CountedCommand)) for name, row in given["redis"].items()
        }
    size = changed.pop("wal_bytes", 0)
    if "wal" in given:
        changed["wal"] = wal_line(given["wal"], size)
    return changed


def _statement(row: Mapping[str, Any]) -> str:
    plan = row.get("plan", {})
    plans = {plan: row["calls"]} if isinstance(plan, str) else plan
    rest = {name: value for name, value in row.items() if name != "plan"}
    return statement_line(msgspec.convert({"sql": "", **rest, "plans": plans}, CountedStatement), {})
