"""Plans as they were run: what auto_explain wrote into the log of a server of ours, by statement and shape."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.plans import Plan, PlanNode, parse_plan
from archzero_lab.postgres.statement_work import StatementName, name_of

_PLAN = re.compile(r"^([\d/]*)\|(\d+)\|LOG:  duration: [\d.]+ ms  plan:\n((?:\t.*\n)+)", re.MULTILINE)
_HANDS_ON = ("Subquery Scan", "Result")


@dataclass(frozen=True)
class Ran:
    """One run of a statement: which, and by which plan (plan_shape).

    `transaction` is the virtual number that every transaction has, `number` the one that it gets when it first writes,
    0 before.
    """

    name: StatementName
    shape: str
    transaction: str
    number: int


class PlanLog:
    """A log that is read from where it was looked at last; of a server with counting_stack's settings."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size

    def skip(self) -> None:
        """Begin anew from here."""
        self._at = self._path.stat().st_size

    def read(self) -> list[Ran]:
        """What was run since it was looked at last."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        plans = []
        for match in _PLAN.finditer(data.decode("utf-8", "replace")):
            try:
                plan = json.loads(match[3].replace("\n\t", "\n"))
                shape = plan_shape(parse_plan([plan]))
            except (ValueError, DatabaseError):
                continue
            name = name_of(str(plan.get("Query Text", "")))
            if name is not None:
                plans.append(Ran(name, shape, match[1], int(match[2])))
        return plans


def plan_shape(plan: Plan) -> str:
    """A plan's nodes, one a line and indented by depth, with tables and indexes and without a number.

    Two plans of one shape read the same tables by the same indexes and join them in the same order by the same methods.
    The indexes of a bitmap stand in the line of its table; a node that only hands on what is below it is left out.
    """
    return "\n".join(_lines(plan.root, 0))


def _lines(node: PlanNode, depth: int) -> list[str]:
    name = f" ({node.subplan})" if node.subplan else ""
    if node.node_type in _HANDS_ON and node.relation is None and len(node.children) == 1 and not name:
        return _lines(node.children[0], depth)
    if node.node_type.removeprefix("Parallel ") == "Bitmap Heap Scan":
        bitmap, *others = node.children
        below = [line for child in others for line in _lines(child, depth + 1)]
        return [f"{' ' * depth}{node.node_type} on {node.relation}: {_bitmap(bitmap)}{name}", *below]
    what = node.node_type + (f" using {node.index}" if node.index else "")
    what += f" on {node.relation}" if node.relation else ""
    return [" " * depth + what + name, *(line for child in node.children for line in _lines(child, depth + 1))]


def _bitmap(node: PlanNode) -> str:
    """Which indexes a bitmap is made of."""
    if node.node_type in ("BitmapAnd", "BitmapOr"):
        joined = f" {node.node_type.removeprefix('Bitmap').upper()} ".join(map(_bitmap, node.children))
        return f"({joined})"
    return node.index or node.node_type
