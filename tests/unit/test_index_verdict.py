"""What is said of an index follows from what was measured: each verdict, the break-even, redundancy by definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.doubts import doubted, not_measured
from archzero_lab.jobs.indexes.page import answer, statements_to_drop
from archzero_lab.jobs.indexes.request import IndexRequest, check_request
from archzero_lab.jobs.indexes.verdict import (
    Finding,
    IndexVerdict,
    Loss,
    UpdateCost,
    WriteCost,
    judge,
    keep_one_of_each,
)
from archzero_lab.jobs.indexes.writes import hot_lost
from archzero_lab.postgres.index_catalog import Index, redundant

_OIDS = count(1)
COST = WriteCost(ms=0.01, ci_low=0.008, ci_high=0.012, wal_records=1.0, wal_bytes=90.0, hot_lost=())


def _loss(without_ms: float, low: float, high: float, *, statement: str = "s", instead: tuple[str, ...] = ()) -> Loss:
    return Loss(statement, ("i",), 1.0, without_ms, without_ms, low, high, 10, instead)


def _judge(**given: Any) -> tuple[IndexVerdict, str, float | None, str | None]:
    known: dict[str, Any] = {"constraint": False, "used_by": ["s"], "losses": [], "cost": COST, "subsumed_by": None,
                             "reads_per_write": 99.0}  # fmt: skip
    return judge(**known | given)


def test_an_index_that_a_constraint_rests_on_is_kept_whatever_was_measured() -> None:
    assert _judge(constraint=True, used_by=[])[0] is IndexVerdict.KEEP_CONSTRAINT


def test_an_index_that_no_plan_reads_goes_and_a_prefix_of_another_names_it() -> None:
    assert _judge(used_by=[])[0] is IndexVerdict.DROP_UNUSED
    verdict, why, *_ = _judge(used_by=[], subsumed_by="longer")
    assert verdict is IndexVerdict.DROP_SUBSUMED
    assert "longer" in why


def test_the_break_even_is_the_cost_of_a_write_over_what_the_best_statement_gains() -> None:
    losses = [_loss(1.5, 1.4, 1.6), _loss(3.0, 2.8, 3.2, statement="best")]
    verdict, why, reads, best = _judge(losses=losses)
    assert (verdict, best) == (IndexVerdict.KEEP, "best")
    assert reads == pytest.approx(0.01 / 2.0)
    assert "1 → 3 ms" in why
    dear = replace(COST, ms=400.0, ci_low=390.0, ci_high=410.0)
    verdict, why, reads, _ = _judge(losses=losses, cost=dear)
    assert (verdict, reads) == (IndexVerdict.TOO_DEAR, pytest.approx(200.0))
    assert "pays above 200 such reads an insert" in why


def test_an_index_whose_statements_lose_nothing_is_subsumed_by_what_serves_them_then() -> None:
    alone = _loss(1.0, 0.98, 1.03, instead=("other",))
    verdict, why, *_ = _judge(losses=[alone])
    assert verdict is IndexVerdict.DROP_SUBSUMED
    assert "other" in why
    both = _loss(9.0, 8.0, 10.0)
    assert "one of them is enough" in _judge(losses=[alone], pair_losses=[both])[1]
    assert _judge(losses=[_loss(1.0, 0.98, 1.03)])[0] is IndexVerdict.UNDECIDED


def test_of_two_that_serve_each_others_statements_the_smaller_stays() -> None:
    def found(name: str, size: int, verdict: IndexVerdict = IndexVerdict.DROP_SUBSUMED) -> Finding:
        return Finding(name, "t", size, None, verdict, "", (), (), None, None, None)

    both = [found("small", 5), found("large", 9), found("third", 7), found("unread", 3, IndexVerdict.DROP_UNUSED),
            found("read", 4)]  # fmt: skip
    instead = {"small": {"large"}, "large": {"small"}, "third": {"elsewhere"}, "read": {"unread"}}
    verdicts = {finding.name: finding.verdict.value for finding in keep_one_of_each(both, instead)}
    assert verdicts == {
        "small": "keep", "large": "drop (subsumed)", "third": "drop (subsumed)", "unread": "drop (nothing uses it)",
        "read": "keep",
    }  # fmt: skip


def test_what_noise_hides_is_undecided_on_whichever_side_its_ratio_fell_and_never_dropped() -> None:
    assert _judge(losses=[_loss(0.9, 0.6, 1.4)])[0] is IndexVerdict.UNDECIDED
    assert _judge(losses=[_loss(0.9, 0.8, 1.05)])[0] is IndexVerdict.UNDECIDED


def test_what_too_few_blocks_cannot_tell_is_undecided_and_says_so() -> None:
    verdict, why, *_ = _judge(losses=[_loss(1.2, 0.95, 1.5)])
    assert verdict is IndexVerdict.UNDECIDED
    assert "--blocks" in why


def _index(name: str, *keys: str, **given: Any) -> Index:
    made = Index(
        oid=next(_OIDS), schema="public", table="t", name=name, method="btree", bytes=1, unique=False,
        constraint=False, valid=True, predicate="", keys=keys, columns=tuple(key.split()[0] for key in keys),
        included=(), table_oid=1, definition="",
    )  # fmt: skip
    return replace(made, **given)


def test_prefixes_and_repetitions_are_redundant_by_their_definition() -> None:
    every = [
        _index("a", "x 0"), _index("ab", "x 0", "y 0"), _index("ab_again", "x 0", "y 0"), _index("b", "y 0"),
        _index("a_desc", "x 3"), _index("a_some", "x 0", predicate="z"), _index("a_unique", "x 0", unique=True),
        _index("a_elsewhere", "x 0", table_oid=2), _index("a_gin", "x 0", method="gin"),
    ]  # fmt: skip
    indexes = {index.oid: index for index in every}
    told = redundant(every)
    found = {indexes[oid].name: other.name for oid, other in told.items()}
    assert found.keys() == {"a", "ab_again"}
    assert found["ab_again"] == "ab"
    assert found["a"] in ("ab", "ab_again", "a_unique")


def test_the_dearer_of_insert_and_update_decides_but_an_update_only_where_it_can_be_told_from_nothing() -> None:
    losses = [_loss(3.0, 2.8, 3.2)]
    update = UpdateCost("quality", ms=400.0, ci_low=390.0, ci_high=410.0, wal_records=9.0, wal_bytes=900.0, hot=0.0,
                        hot_without=1.0)  # fmt: skip
    verdict, why, reads, _ = _judge(losses=losses, cost=replace(COST, update=update))
    assert (verdict, reads) == (IndexVerdict.TOO_DEAR, pytest.approx(200.0))
    assert "pays above 200 such reads an update of quality" in why
    lost_in_noise = replace(update, ci_low=-1.0)
    verdict, _, reads, _ = _judge(losses=losses, cost=replace(COST, update=lost_in_noise))
    assert (verdict, reads) == (IndexVerdict.KEEP, pytest.approx(0.01 / 2.0))


def test_only_the_last_index_of_a_column_costs_it_its_heap_only_updates() -> None:
    one, two, three = _index("one", "x 0", "y 0"), _index("two", "x 0"), _index("three", "z 0")
    assert hot_lost(one, [one, two, three]) == ("y",)
    assert hot_lost(two, [one, two, three]) == ()
    assert hot_lost(three, [one, two, three]) == ("z",)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"database_url": "postgresql://x"}, "--database-url needs --migration"),
        ({"database_url": "postgresql://x", "migration": Path(__file__)}, "needs --queries DIR or"),
        ({"migration": Path(__file__)}, "give --database-url"),
        ({"database_url": "postgresql://x", "migration": Path("no.sql"), "from_statistics": 5}, "no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_request(IndexRequest(**given))


def test_the_page_says_what_to_drop_in_sql_that_can_be_copied() -> None:
    told = {
        "findings": [
            {
                "name": "a",
                "table": "t",
                "verdict": "drop (nothing uses it)",
                "bytes": 2_000_000,
                "cost": None,
                "place": ["public", "a"],
            },
            {
                "name": "b.x",
                "table": "b.t",
                "verdict": "drop (subsumed)",
                "bytes": 1_000_000,
                "cost": {"ms": 0.002},
                "place": ["b", "x"],
            },
            {
                "name": 'Od"d',
                "table": "p.t",
                "verdict": "too dear",
                "bytes": 0,
                "cost": None,
                "partitions": 3,
                "place": ["p", 'Od"d'],
            },
            {"name": "c", "table": "t", "verdict": "keep", "bytes": 5, "cost": None},
            {"name": "d", "table": "t", "verdict": "undecided", "bytes": 5, "cost": None},
        ]
    }
    assert statements_to_drop(told).splitlines() == [
        'DROP INDEX CONCURRENTLY "public"."a";', 'DROP INDEX CONCURRENTLY "b"."x";', 'DROP INDEX "p"."Od""d";',
    ]  # fmt: skip
    assert answer(told) == "Keep 1, drop 3, undecided 1: dropping saves 3.0 MB and 2 µs an insert"


def test_what_was_not_measured_may_read_what_it_names_and_by_a_view_or_function_anything() -> None:
    finding = Finding("i", "t", 1, None, IndexVerdict.DROP_UNUSED, "unused", (), (), None, None, None)
    of_t, of_u = _index("i", "x 0"), _index("i", "x 0", table="u")

    def verdict(text: str, index: Index) -> IndexVerdict:
        return doubted(finding, not_measured({"q": text}, {"busy_view"}), index, measured=False).verdict

    assert verdict("SELECT FROM T WHERE", of_t) is IndexVerdict.UNDECIDED
    assert verdict("SELECT FROM T WHERE", of_u) is IndexVerdict.DROP_UNUSED
    assert verdict("SELECT * FROM busy_view", of_u) is IndexVerdict.UNDECIDED
