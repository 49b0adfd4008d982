"""Reads an access log: ours (JSON lines of ./lab serve --record) or Combined Log Format.

python loadtests/access_log.py FILE tells what of it can be sent again, or in a line what cannot be read.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

_COMBINED = re.compile(
    r'^\S+ \S+ \S+ \[(?P<at>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{3}) \S+'
)


@dataclass(frozen=True)
class Entry:
    """One request of a log, so many seconds after the first."""

    at_s: float
    method: str
    path: str
    body: str | None
    media_type: str


class LogError(ValueError):
    """A line of a log that cannot be read."""


def read_log(path: str) -> tuple[list[Entry], int]:
    """The requests of a log in the order of their times, and how many writes without a body were left out.

    Raises LogError naming the line, OSError where the file cannot be read. The times of Combined Log Format are whole
    seconds: those of one second are spread evenly over it.
    """
    found: list[Entry] = []
    left_out = 0
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            entry = _ours(line) if line.startswith("{") else _combined(line)
            if entry is None:
                raise LogError(
                    f"{path} line {number} can be read neither as a line of ./lab serve --record nor as Combined Log "
                    "Format; correct it or leave it out"
                )
            if entry.method not in ("GET", "HEAD", "DELETE") and entry.body is None:
                left_out += 1
                continue
            found.append(entry)
    if not found:
        raise LogError(f"{path} holds no request that could be sent again")
    found.sort(key=lambda entry: entry.at_s)
    if all(entry.at_s.is_integer() for entry in found):
        found = list(_spread(found))
    first = found[0].at_s
    return [Entry(e.at_s - first, e.method, e.path, e.body, e.media_type) for e in found], left_out


def _ours(line: str) -> Entry | None:
    try:
        told = json.loads(line)
        path = str(told["path"])
        if not path.startswith("/"):
            return None
        media_type = told.get("type", "application/json")
        return Entry(float(told["time"]), str(told["method"]), path, told.get("body"), media_type)
    except (ValueError, KeyError, TypeError):
        return None


def _combined(line: str) -> Entry | None:
    match = _COMBINED.match(line)
    if match is None or not match["path"].startswith("/"):
        return None
    try:
        at_s = datetime.strptime(match["at"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        return None
    return Entry(at_s, match["method"], match["path"], None, "application/json")


def _spread(found: list[Entry]) -> Iterator[Entry]:
    groups: dict[float, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.at_s, []).append(entry)
    for at_s, entries in groups.items():
        for number, e in enumerate(entries):
            yield Entry(at_s + number / len(entries), e.method, e.path, e.body, e.media_type)


if __name__ == "__main__":
    try:
        _entries, _left_out = read_log(sys.argv[1])
    except (LogError, OSError) as _error:
        sys.exit(str(_error))
    json.dump({"requests": len(_entries), "left_out": _left_out, "seconds": _entries[-1].at_s}, sys.stdout)
