"""A line of a count's file: numbers with their words, so that a diff of it is read without a legend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from archzero_lab.jobs.work.counted import CountedCommand, CountedStatement, most_common, plan_mark

_TIMES = re.compile(r"(\d+)x")
_REDIS = {"keys": "keys", "sent": "out", "answered": "back"}
_ANY_VALUES = "any"
_NUMBERS = ("blocks", "temporary", "seldom")


def statement_line(statement: CountedStatement, plans: dict[str, str]) -> str:
    """ "20x 4622 blocks pbf3bf": calls, rows where they are not as many, blocks, and the plan or each one's share.

    The text of the commonest plan is added to `plans`: of a rarer one its name tells whether it is another.
    """
    words = [f"{statement.calls}x"]
    if statement.rows != statement.calls:
        words.append(f"{statement.rows} rows")
    words += [f"{getattr(statement, name)} {name}" for name in _NUMBERS if getattr(statement, name)]
    if statement.plans:
        shape = most_common(statement.plans)
        plans[plan_mark(shape)] = shape
        marks = {plan_mark(shape): times for shape, times in statement.plans.items()}
        # nested runs have plans and no call of their own
        if list(marks.values()) == [statement.calls]:
            words += marks
        else:
            words += [f"{times}x {mark}" for mark, times in marks.items()]
    if statement.generic:
        words.append(f"{_ANY_VALUES} {statement.generic}")
    return " ".join(words)


def read_statement(line: str, sql: str, plans: Mapping[str, str]) -> CountedStatement:
    """What statement_line wrote. Raises ValueError for another text."""
    words = iter(line.split())
    calls = _times(next(words, ""))
    statement = CountedStatement(sql, calls, calls, plans={})
    for word in words:
        if _TIMES.fullmatch(word):
            mark = next(words, "")
            statement.plans[plans.get(mark, mark)] = _times(word)
        elif word == _ANY_VALUES:
            statement.generic = next(words, "")
        elif word.isdigit():
            name = next(words, "")
            if name not in ("rows", *_NUMBERS):
                raise ValueError(f"{word} {name}")
            setattr(statement, name, int(word))
        else:
            statement.plans[plans.get(word, word)] = calls
    return statement


def command_line(command: CountedCommand) -> str:
    """ "40x 140 keys 20737 out 380 back": calls, keys, bytes sent and answered."""
    numbers = ((getattr(command, field), word) for field, word in _REDIS.items())
    return " ".join([f"{command.calls}x", *(f"{number} {word}" for number, word in numbers if number)])


def read_command(line: str) -> CountedCommand:
    """What command_line wrote. Raises ValueError for another text."""
    first, *words = line.split()
    fields = {word: field for field, word in _REDIS.items()}
    command = CountedCommand(_times(first))
    for number, word in zip(words[::2], words[1::2], strict=True):
        if word not in fields:
            raise ValueError(f"{number} {word}")
        setattr(command, fields[word], int(number))
    return command


def inner_line(calls: Mapping[str, int]) -> str:
    """ "18f5ffb 4x e69d100": marks of statements that others ran, with how often where that is not once."""
    return " ".join(mark if times == 1 else f"{times}x {mark}" for mark, times in calls.items())


def read_inner(line: str) -> Iterator[tuple[str, int]]:
    """What inner_line wrote. Raises ValueError for another text."""
    words = iter(line.split())
    for word in words:
        yield (next(words, ""), _times(word)) if _TIMES.fullmatch(word) else (word, 1)


def wal_line(records: Mapping[str, int], size: int) -> str:
    """ "486 bytes, 7 Btree/entry, 2 Heap/INSERT": what was written."""
    return ", ".join([f"{size} bytes", *(f"{number} {kind}" for kind, number in records.items())])


def read_wal(line: str) -> tuple[dict[str, int], int]:
    """What wal_line wrote. Raises ValueError for another text."""
    parts = [part.partition(" ") for part in line.split(", ")]
    records = {kind: int(number) for number, _, kind in parts}
    return records, records.pop("bytes", 0)


def _times(word: str) -> int:
    times = _TIMES.fullmatch(word)
    if times is None:
        raise ValueError(word)
    return int(times[1])
