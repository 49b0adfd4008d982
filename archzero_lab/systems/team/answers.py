"""Whether arms answer alike: what of an answer counts, where two differ, and what was seen of it while measuring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from archzero_lab.systems.operations import Operation

_KEPT = 5_000
_TOLD = 3
_SHOWN = 60


def counted(rule: str, body: bytes) -> Any:
    """What of an unpacked answer must be the same: all of it, a part of its JSON (json:items[*].id), or nothing.

    JSON is compared by value, so the order of its fields and its white space do not count; by the rule "unordered" that
    of its lists' entries neither.
    """
    if rule in ("status", "none"):
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return body
    if rule == "unordered":
        return in_one_order(value)
    return _at(value, rule.removeprefix("json:")) if rule.startswith("json:") else value


def in_one_order(value: Any) -> Any:
    """JSON with the entries of every list in an order of their own values.

    >>> in_one_order({"b": [3, 1, [2, 1]]})
    {'b': [1, 3, [1, 2]]}
    """
    if isinstance(value, dict):
        return {name: in_one_order(part) for name, part in value.items()}
    if isinstance(value, list):
        return sorted(map(in_one_order, value), key=lambda part: json.dumps(part, sort_keys=True))
    return value


def first_difference(one: Any, other: Any, at: str = "") -> str | None:
    """Where two answers differ first, in words; None where they do not.

    >>> first_difference({"items": [1, 2]}, {"items": []})
    'items: 2 entries against none'
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            if name not in one or name not in other:
                return f"{_named(at, name)} is missing in the {'first' if name not in one else 'second'}"
            if difference := first_difference(one[name], other[name], _named(at, name)):
                return difference
        return None
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{at or 'the answer'}: {_entries(one)} against {_entries(other)}"
        for number, (mine, others) in enumerate(zip(one, other, strict=True)):
            if difference := first_difference(mine, others, f"{at}[{number}]"):
                return difference
        return None
    if one == other and isinstance(one, bool) == isinstance(other, bool):  # to Python 1 is true
        return None
    return f"{at or 'the answer'}: {_shown(one)} against {_shown(other)}"


class AnswersSeen:
    """What each arm answered to each operation of the block that is measured, and where two differed."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = rules
        self._seen: dict[Operation, tuple[str, int, Any]] = {}
        self._differences: dict[str, list[str]] = {}

    def note(self, arm: str, operation: Operation, status: int, body: bytes) -> None:
        """An arm's answer; kept where it is the first to this operation, compared where another arm gave one."""
        rule = self._rules.get(operation.variant, "body")
        if rule == "none":
            return
        if len(self._seen) > _KEPT:  # older blocks: what they saw may have changed since
            self._seen.clear()
        value = counted(rule, body)
        first = self._seen.setdefault(operation, (arm, status, value))
        if first[0] == arm:
            self._seen[operation] = (arm, status, value)
            return
        difference = f"status {first[1]} against {status}" if first[1] != status else first_difference(first[2], value)
        if difference is not None and first_difference(in_one_order(first[2]), in_one_order(value)) is None:
            difference += '; the same in another order, which same = "unordered" takes'
        if difference is not None:
            self.difference(operation, f"{first[0]} and {arm} differ: {difference}")

    def difference(self, operation: Operation, what: str) -> None:
        """Keep that an operation was answered otherwise than it should have been."""
        differences = self._differences.setdefault(operation.variant, [])
        said = f"{operation.method} {operation.path}: {what}"
        if len(differences) < _TOLD and said not in differences:
            differences.append(said)

    @property
    def differences(self) -> dict[str, list[str]]:
        """By kind of request: what was answered otherwise, the first few."""
        return {kind: list(lines) for kind, lines in self._differences.items()}


def _at(value: Any, path: str) -> Any:
    """A part of JSON by a path such as items[*].id or data.total; None where it is not there."""
    if not path:
        return value
    head, _, rest = path.partition(".")
    name, many = head.removesuffix("[*]"), head.endswith("[*]")
    value_there = value.get(name) if name and isinstance(value, dict) else value if not name else None
    if many:
        return [_at(part, rest) for part in value_there] if isinstance(value_there, list) else None
    return _at(value_there, rest)


def _named(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _entries(value: list[Any]) -> str:
    return "none" if not value else "1 entry" if len(value) == 1 else f"{len(value)} entries"


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
