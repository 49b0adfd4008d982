"""EXPLAIN's JSON into nodes: own time and blocks, loops, labels; and what is no plan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.plans import parse_plan, read_plan

DOCUMENT = [
    {
        "Plan": {
            "Node Type": "Nested Loop",
            "Actual Loops": 1,
            "Actual Total Time": 10.0,
            "Actual Rows": 6,
            "Plan Rows": 5,
            "Shared Hit Blocks": 30,
            "Shared Read Blocks": 5,
            "Plans": [
                {
                    "Node Type": "Seq Scan",
                    "Parallel Aware": True,
                    "Relation Name": "cards",
                    "Alias": "c",
                    "Filter": "(x = 1)",
                    "Rows Removed by Filter": 94,
                    "Actual Loops": 1,
                    "Actual Total Time": 4.0,
                    "Actual Rows": 3,
                    "Plan Rows": 3,
                    "Shared Hit Blocks": 20,
                },
                {
                    "Node Type": "Index Scan",
                    "Relation Name": "relationships",
                    "Alias": "relationships",
                    "Index Name": "i",
                    "Actual Loops": 3,
                    "Actual Total Time": 1.0,
                    "Actual Rows": 2,
                    "Plan Rows": 2,
                    "Shared Hit Blocks": 10,
                },
            ],
        },
        "Planning Time": 0.5,
        "Execution Time": 10.2,
        "Settings": {"jit": "off"},
    }
]


def test_times_and_blocks_of_a_node_leave_its_children_out() -> None:
    plan = parse_plan(DOCUMENT)
    top, scan, lookup = plan.root.walk()
    assert top.exclusive_ms == pytest.approx(10 - 4 - 3)
    assert top.exclusive_blocks == 35 - 20 - 10
    assert lookup.total_ms == pytest.approx(3.0), "the time of a loop, three times"
    assert scan.rows_removed == 94
    assert plan.shared_blocks == 35
    assert plan.indexes == ("i",)
    assert plan.settings == {"jit": "off"}


def test_labels_name_type_index_and_table() -> None:
    labels = [node.label for node in parse_plan(DOCUMENT).root.walk()]
    assert labels == ["Nested Loop", "Parallel Seq Scan on cards c", "Index Scan using i on relationships"]


@pytest.mark.parametrize("document", [[], {}, [{"Plan": {}}], None])
def test_what_is_no_plan_is_refused(document: object) -> None:
    with pytest.raises(DatabaseError, match="not a plan"):
        parse_plan(document)


LOGGED = {name: value for name, value in DOCUMENT[0].items() if not name.endswith("Time")} | {"Query Text": "SELECT 1"}
"""As auto_explain writes it, whose time stands before it."""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(DOCUMENT),
        json.dumps([DOCUMENT]),
        json.dumps(DOCUMENT[0]),
        "2026-11-28 12:00:00.000 UTC [12] LOG:  duration: 10.2 ms  plan:\n\t" + json.dumps(DOCUMENT[0], indent=1),
        '2026-11-28 12:00:00 UTC,"a","b",1,"duration: 10.2 ms  plan:\n'
        + json.dumps(LOGGED).replace('"', '""')
        + '",,,',
        json.dumps({"pid": 1, "message": "duration: 10.2 ms  plan:\n" + json.dumps(LOGGED)}),
        "duration: 10.2 ms  plan:\n" + json.dumps(LOGGED),
        " " + json.dumps(DOCUMENT, indent=1).replace("\n", "      +\n "),
        json.dumps(DOCUMENT).encode(),
        DOCUMENT,
        DOCUMENT[0],
    ],
)
def test_a_plan_is_read_as_people_have_it(text: Any) -> None:
    assert read_plan(text).execution_ms == 10.2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Seq Scan on t  (cost=0.00..1.00 rows=1 width=4)", r"that is EXPLAIN's text; .*FORMAT JSON"),
        ("", "holds no plan"),
        ("{", "holds no plan"),
        ('{"a": 1}', "holds no plan"),
        ("[1, 2]", "holds no plan"),
        ("Seq Scan on t", "that is EXPLAIN's text"),
        ("<explain xmlns='…'>", "that is EXPLAIN's XML"),
        ('- Plan: \n    Node Type: "Result"', "that is EXPLAIN's YAML"),
        (json.dumps([DOCUMENT[0]]) + json.dumps([DOCUMENT[0]]), "that holds 2 plans: give one"),
        ('[{"Plan": {"Node Type": "Result", "Actual Total Time": "x"}}]', "not a plan"),
        ("[" * 5_000, "holds no plan"),
    ],
)
def test_what_is_no_plan_is_named_with_what_to_give(text: str, told: str) -> None:
    with pytest.raises(DatabaseError, match=told):
        read_plan(text)


def test_triggers_and_jit_are_told_beside_the_nodes() -> None:
    told = {"Triggers": [{"Trigger Name": "RI_x", "Constraint Name": "child_fkey", "Relation": "parent", "Time": 6.0,
                          "Calls": 20}], "JIT": {"Functions": 3, "Timing": {"Total": 1.5}}}  # fmt: skip
    plan = parse_plan([DOCUMENT[0] | told])
    assert [(one.name, one.ms, one.calls) for one in plan.triggers] == [("child_fkey", 6.0, 20)]
    assert plan.jit_ms == 1.5
