"""Plan diffs on made-up plans: nodes are paired by what they do, never by position; the biggest change comes first."""

from __future__ import annotations

import json
from typing import Any

from archzero_lab.jupyter.plans import ShownPlan, plan_diff, plan_from
from archzero_lab.postgres.plan_diff import diff_plans
from archzero_lab.postgres.plan_steps import steps
from archzero_lab.postgres.plans import Plan, parse_plan


def _node(kind: str, ms: float, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    names = {"table": "Relation Name", "alias": "Alias", "index": "Index Name", "rows": "Actual Rows",
             "hit": "Shared Hit Blocks", "loops": "Actual Loops", "workers": "Workers Launched",
             "removed": "Rows Removed by Filter", "subplan": "Subplan Name"}  # fmt: skip
    made = {"Node Type": kind, "Actual Total Time": ms, "Actual Loops": 1, "Actual Rows": 1, "Plan Rows": 1}
    made |= {names[name]: value for name, value in more.items()}
    if "table" in more:
        made.setdefault("Alias", more["table"])
    return made | ({"Plans": list(children)} if children else {})


def _plan(top: dict[str, Any]) -> Plan:
    return parse_plan([{"Plan": top, "Execution Time": top["Actual Total Time"], "Planning Time": 0.1}])


SCANS = _plan(
    _node("Limit", 57,
          _node("Sort", 56.5,
                _node("Hash Join", 56,
                      _node("Seq Scan", 43, table="cards", rows=1_000, removed=99_000, hit=9_000),
                      _node("Hash", 9, _node("Seq Scan", 8, table="relationships", rows=50, hit=500), hit=500),
                      hit=9_500), hit=9_500), hit=9_500)
)  # fmt: skip
INDEXED = _plan(
    _node("Limit", 3,
          _node("Nested Loop", 2.9,
                _node("Seq Scan", 1.9, table="relationships", rows=50, hit=500),
                _node("Bitmap Heap Scan", 0.9,
                      _node("Bitmap Index Scan", 0.2, index="idx_type", rows=1_000, hit=5),
                      table="cards", rows=1_000, hit=60), hit=560), hit=560)
)  # fmt: skip


def test_scans_are_paired_by_their_table_wherever_they_stand() -> None:
    pairs = {(p.before.label if p.before else None, p.after.label if p.after else None)
             for p in diff_plans(SCANS, INDEXED).pairs}  # fmt: skip
    assert pairs == {
        ("Seq Scan on cards", "Bitmap Heap Scan on cards using idx_type"),
        ("Seq Scan on relationships", "Seq Scan on relationships"),
        ("Hash Join", "Nested Loop"),
        ("Sort", None),
        ("Limit", "Limit"),
    }


def test_the_biggest_change_is_said_first_with_its_share_of_the_whole() -> None:
    diff = diff_plans(SCANS, INDEXED)
    assert diff.whole == "57 → 3 ms (94.7% less), 9,500 → 560 blocks"
    first = diff.lines()[0]
    assert first.startswith("Seq Scan on cards → Bitmap Heap Scan on cards using idx_type; rows looked at in vain")
    assert "blocks 9,000 → 60; 43 → 0.9 ms; 78% of the whole's gain" in first
    assert any(line.startswith("gone: Sort") for line in diff.lines())
    assert not any(line.startswith("Limit") for line in diff.lines()), "it does the same: its time alone is noise"


def test_a_plan_beside_itself_has_no_change() -> None:
    assert diff_plans(SCANS, SCANS).lines() == []
    assert all(pair.before and pair.after for pair in diff_plans(SCANS, SCANS).pairs)


def test_helpers_are_folded_into_what_they_help() -> None:
    labels = [step.label for step in steps(INDEXED.root)]
    assert labels == ["Limit", "Nested Loop", "Seq Scan on relationships", "Bitmap Heap Scan on cards using idx_type"]
    heap = next(step for step in steps(INDEXED.root) if "Heap" in step.label)
    assert (heap.blocks, round(heap.ms, 3)) == (60, 0.9)


def test_two_scans_of_one_table_are_told_apart_by_alias_and_subplan() -> None:
    before = _plan(_node("Nested Loop", 9, _node("Seq Scan", 4, table="cards", alias="a"),
                         _node("Seq Scan", 5, table="cards", alias="b")))  # fmt: skip
    after = _plan(_node("Nested Loop", 9, _node("Index Scan", 1, table="cards", alias="b", index="i"),
                        _node("Seq Scan", 4, table="cards", alias="a")))  # fmt: skip
    changed = [line for line in diff_plans(before, after).lines() if "Scan" in line]
    assert changed[0].startswith("Seq Scan on cards b → Index Scan using i on cards b")
    assert len(changed) == 1


def test_time_below_a_gather_is_what_it_took_not_what_it_cost() -> None:
    plan = _plan(_node("Gather", 12, _node("Seq Scan", 10, table="cards", loops=3), workers=2))
    gather, scan = plan.root.walk()
    assert scan.total_ms == 10
    assert gather.exclusive_ms == 2


def test_a_plan_and_a_diff_show_themselves_escaped_and_keep_the_raw_json() -> None:
    evil = _plan(_node("Seq Scan", 5, table="<script>alert(1)</script>", hit=10))
    shown = ShownPlan(evil, "<b>")
    for text in (shown._repr_html_(), plan_diff(shown, shown)._repr_html_()):
        assert "<script" not in text
        assert "<b>" not in text
    assert json.loads(shown.raw)[0]["Plan"]["Node Type"] == "Seq Scan"
    assert plan_from(shown.raw).plan.root.label == evil.root.label
    assert "Seq Scan" in repr(shown)
    assert len(shown.nodes) == 1


def test_the_figure_says_in_words_what_it_shows() -> None:
    picture = plan_diff(ShownPlan(SCANS, "filter"), ShownPlan(INDEXED, "filter")).figure()
    assert picture.alt.startswith("filter: 57 → 3 ms (94.7% less)")
    assert "Bitmap Heap Scan" in picture.svg
