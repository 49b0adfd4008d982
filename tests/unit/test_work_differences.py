"""Counts of work: written and read back the same, and what two of them are told to differ in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from archzero_lab.jobs.work.baseline import Baseline, Tolerance, to_toml
from archzero_lab.jobs.work.conditions import conditions, moved_tables
from archzero_lab.jobs.work.counted import (
    Counted,
    CountedCommand,
    CountedKind,
    CountedPass,
    CountedStatement,
    drawn_mark,
)
from archzero_lab.jobs.work.differences import differences
from archzero_lab.jobs.work.verdict import judge_work
from archzero_lab.run_folders.gate import INCONCLUSIVE, PASS, REGRESSION
from archzero_lab.systems.operations import Operation

BITMAP = "Limit\n Sort\n  Bitmap Heap Scan on cards: idx_cards_name_trgm"
SEQ = "Limit\n Sort\n  Seq Scan on cards"


def _statement(**other: Any) -> CountedStatement:
    given = {"sql": "SELECT id FROM cards WHERE name ILIKE $1", "calls": 20, "rows": 400, "blocks": 1_000}
    return CountedStatement(**{**given, "plans": {BITMAP: 20}, **other})


def _counted(first: CountedPass | None = None, *, again: CountedPass | None = None, **other: Any) -> Counted:
    one = CountedPass(
        bytes=2_000, statements={"aa11bb22": _statement()}, redis={"GET": CountedCommand(20, 20, 300, 40)}
    )
    kind = CountedKind(20, first or one, again=again)
    given = {"system": "shop", "arm": "candidate", "size": 0, "seed": 1, "asked": 20, "postgres": 18}
    return Counted(**{**given, "tables": {"cards": 20_000}, "kinds": {"search": kind}, "to_vacuum": {}, **other})


def _changed(**other: Any) -> CountedPass:
    return msgspec.structs.replace(_counted().kinds["search"].first, **other)


def _differences(before: Counted, after: Counted, **tolerance: float) -> list[tuple[str, str, str]]:
    return [
        (f"{one.where}: {one.what}", one.result, one.said) for one in differences(before, after, Tolerance(**tolerance))
    ]


def test_the_same_count_differs_in_nothing() -> None:
    assert _differences(_counted(), _counted()) == []


def test_a_plan_that_turned_is_told_node_by_node_with_what_it_costs() -> None:
    after = _counted(
        CountedPass(
            2_000, {"aa11bb22": _statement(blocks=52_000, plans={SEQ: 20})}, _counted().kinds["search"].first.redis
        )
    )
    assert _differences(_counted(), after) == [
        ("search: SELECT id FROM cards WHERE name ILIKE $1", "more",
         "Bitmap Heap Scan on cards: idx_cards_name_trgm became Seq Scan on cards; 50 → 2,600 blocks a request"),
    ]  # fmt: skip


def test_a_plan_that_turned_is_for_a_person_even_where_it_reads_less() -> None:
    after = _counted(_changed(statements={"aa11bb22": _statement(blocks=900, plans={SEQ: 20})}))
    assert [result for _, result, _ in _differences(_counted(), after)] == ["otherwise"]


def test_one_statement_in_the_place_of_many_is_no_regression() -> None:
    loop = {"aa11bb22": _statement(), "cc": CountedStatement("SELECT body FROM reviews WHERE id = ?", 400, 400, 4_000)}
    join = {"dd": _statement(sql="SELECT id FROM cards JOIN reviews WHERE name ILIKE $1", blocks=2_000)}
    before, after = _counted(_changed(statements=loop)), _counted(_changed(statements=join))
    assert {result for _, result, _ in _differences(before, after)} == {"otherwise", "less"}
    assert "more" in {result for _, result, _ in _differences(after, before)}, "and the other way round it is one"


def test_mget_in_the_place_of_many_gets_is_no_regression() -> None:
    many, one = {"GET": CountedCommand(400, 400, 6_000, 800)}, {"MGET": CountedCommand(20, 400, 6_100, 800)}
    assert {r for _, r, _ in _differences(_counted(_changed(redis=many)), _counted(_changed(redis=one)))} == {
        "otherwise",
        "less",
    }
    assert "more" in {r for _, r, _ in _differences(_counted(_changed(redis=one)), _counted(_changed(redis=many)))}


def test_a_statement_more_a_command_more_and_bytes_are_named() -> None:
    was = _counted().kinds["search"].first
    more = msgspec.structs.replace(
        was, bytes=2_020, redis={**was.redis, "EXISTS": CountedCommand(20, 20, 100)},
        statements={**was.statements, "cc": CountedStatement("SELECT 1", 20)},
    )  # fmt: skip
    assert _differences(_counted(), _counted(more)) == [
        ("search: SELECT 1", "more", "is new; 0 → 1 calls a request"),
        ("search: Redis EXISTS", "more", "0 → 1 calls a request; 0 → 1 keys a request; 0 → 5 bytes sent a request"),
        ("search: bytes answered", "more", "100 → 101 bytes a request"),
    ]


def test_a_statement_that_was_changed_is_held_against_what_it_was() -> None:
    other = _statement(sql="SELECT id, name FROM cards WHERE name ILIKE $1", blocks=900)
    after = msgspec.structs.replace(_counted().kinds["search"].first, statements={"dd": other})
    told = _differences(_counted(), _counted(after))
    assert told == [
        ("search: SELECT id, name FROM cards WHERE name ILIKE $1", "otherwise",
         "50 → 45 blocks a request; was SELECT id FROM cards WHERE name ILIKE $1"),
    ]  # fmt: skip


def test_of_other_rows_more_blocks_are_for_a_person_and_more_calls_a_regression() -> None:
    grown = msgspec.structs.replace(
        _counted().kinds["search"].first, statements={"aa11bb22": _statement(blocks=1_100)}, bytes=2_100
    )
    after = _counted(grown, tables={"cards": 20_001})
    assert {result for _, result, _ in _differences(_counted(), after)} == {"otherwise"}
    looped = msgspec.structs.replace(grown, statements={"aa11bb22": _statement(calls=40)})
    (told,) = [one for one in _differences(_counted(), _counted(looped, tables={"cards": 1})) if "calls" in one[2]]
    assert told[1] == "more"
    drawn = [_counted(), _counted(grown)]
    for number, one in enumerate(drawn):
        one.kinds["search"].drawn = f"{number}"
    assert {result for _, result, _ in _differences(*drawn)} == {"otherwise"}
    assert {result for _, result, _ in _differences(_counted(), _counted(grown))} == {"more"}


def test_a_query_in_a_loop_is_named_though_the_requests_are_fewer() -> None:
    before, after = _counted(), _counted()
    after.kinds["search"].requests = 19
    after.kinds["search"].first.statements["aa11bb22"].calls = 19 * 50
    told = _differences(before, after)
    assert [result for _, result, _ in told] == ["otherwise", "more"]
    assert told[1][2] == "1 → 50 calls a request"


def test_a_statement_that_a_few_writes_send_is_told() -> None:
    few = _statement(calls=0, rows=0, blocks=0, plans={}, seldom=3)
    (told,) = _differences(_counted(), _counted(_changed(statements={"aa11bb22": _statement(), "ff": few})))
    assert told[1:] == ("more", "is new; 0 → 0.15 calls in all, of a few requests")


def test_what_the_first_format_did_not_count_is_no_difference_from_its_file() -> None:
    few = _statement(calls=0, rows=0, blocks=0, plans={}, seldom=3)
    longer = _changed(statements={"aa11bb22": _statement(), "ff": few}, redis={"GET": CountedCommand(20, 20, 500, 60)})
    assert _differences(_counted(to_vacuum=None), _counted(longer)) == []
    assert [result for _, result, _ in _differences(_counted(), _counted(longer))] == ["more", "more"]


def test_a_statement_that_only_a_few_requests_send_any_more_is_less() -> None:
    few = _changed(statements={"aa11bb22": _statement(calls=0, rows=0, blocks=0, seldom=4)})
    (told,) = _differences(_counted(), _counted(few))
    assert told[1] == "less"


def test_a_cache_that_never_hits_is_found_where_it_is_asked_again() -> None:
    hit = CountedPass(2_000, {}, {"GET": CountedCommand(20, 20, 300, 5_000)})
    told = _differences(_counted(again=hit), _counted())
    assert [(where, result) for where, result, _ in told] == [
        ("search, asked again: SELECT id FROM cards WHERE name ILIKE $1", "more"),
        ("search, asked again: Redis GET", "less"),
    ]


def test_a_tolerance_lets_a_counter_grow_by_so_much_and_no_more() -> None:
    def with_blocks(blocks: int) -> Counted:
        first = msgspec.structs.replace(
            _counted().kinds["search"].first, statements={"aa11bb22": _statement(blocks=blocks)}
        )
        return _counted(first)

    assert _differences(_counted(), with_blocks(1_020), blocks=0.02) == []
    assert [result for _, result, _ in _differences(_counted(), with_blocks(1_021), blocks=0.02)] == ["more"]
    assert [result for _, result, _ in _differences(_counted(), with_blocks(999), blocks=0.02)] == ["less"], (
        "a gain is told"
    )


def test_on_another_version_of_postgresql_plans_count_and_blocks_do_not() -> None:
    first = msgspec.structs.replace(
        _counted().kinds["search"].first, statements={"aa11bb22": _statement(blocks=9, plans={SEQ: 20})}
    )
    found = judge_work(Baseline(_counted(), Tolerance()), _counted(first, postgres=15), Path("work.toml"), "here")
    assert [outcome.said for outcome in found.outcomes] == [
        "Bitmap Heap Scan on cards: idx_cards_name_trgm became Seq Scan on cards"
    ]
    assert found.result == INCONCLUSIVE
    assert found.warnings[0].startswith("counted on PostgreSQL 18, now 15:")


def test_more_is_a_regression_less_passes_and_rows_that_differ_are_told() -> None:
    def judged(blocks: int, **other: Any) -> Any:
        first = msgspec.structs.replace(
            _counted().kinds["search"].first, statements={"aa11bb22": _statement(blocks=blocks)}
        )
        return judge_work(Baseline(_counted(), Tolerance()), _counted(first, **other), Path("work.toml"), "here")

    assert judged(1_001).result == REGRESSION
    assert judged(999).result == PASS
    assert judged(1_000).outcomes[0].said == "as it was: 20 statements, 1,000 blocks of 20 requests"
    assert judged(1_000, tables={"cards": 20_001}).warnings == [
        "table cards had 20,000 rows and has 20,001: what reads it follows"
    ]


def test_requests_that_are_others_are_told_and_older_files_say_nothing_of_them() -> None:
    def drawn(mark: str) -> Counted:
        counted = _counted()
        counted.kinds["search"].drawn = mark
        return counted

    assert conditions(drawn("0a1b2c3d"), drawn("ffffffff")) == [
        "search: its requests are not those that were counted: its values are drawn from other rows"
    ]
    assert conditions(drawn("0a1b2c3d"), drawn("0a1b2c3d")) == conditions(drawn(""), drawn("0a1b2c3d")) == []
    reads = [Operation("/search?q=a", "a"), Operation("/search?q=b", "b")]
    marks = {
        drawn_mark(one)
        for one in (reads, reads[::-1], reads[:1], [replace(reads[0], body=b"{}")], [replace(reads[0], method="PUT")])
    }
    assert len(marks) == 5
    secret = replace(reads[0], headers=(("Authorization", "Bearer s3cret"),))
    assert drawn_mark([secret]) == drawn_mark(reads[:1]), "a mark is made of no secret"


def test_a_kind_of_request_that_is_gone_or_new_is_for_a_person() -> None:
    gone = _counted(kinds={})
    assert _differences(_counted(), gone) == [("search: request", "otherwise", "is not asked any more")]
    assert _differences(gone, _counted())[0][1:] == ("otherwise", "is new: nothing is known of it before")


def test_an_index_only_scan_of_a_table_that_the_migration_has_written_is_told() -> None:
    scan = CountedStatement("SELECT 1", 1, 1, plans={"Aggregate\n Index Only Scan using b on orders (InitPlan 1)": 1})
    before = _counted(CountedPass(statements={"0a1b2c3": scan}))
    after = _counted(CountedPass(statements={"0a1b2c3": scan}))
    before.to_vacuum, after.to_vacuum = {"orders": 2}, {"orders": 412, "others": 9}
    (told,) = differences(before, after, Tolerance())
    assert (told.where, told.result) == ("search", "otherwise")
    assert told.said.startswith("412 pages of orders are written by the migration")
    assert differences(after, after, Tolerance()) == []
    before.to_vacuum = {"orders": 300}  # a migration that stays, of a table that grew
    assert differences(before, after, Tolerance()) == []
    before.to_vacuum = None  # a file of the first format: nobody looked
    assert differences(before, after, Tolerance()) == []


def test_the_tables_of_migration_tools_are_neither_kept_nor_told() -> None:
    was = _counted(tables={"cards": 20_000, "public.alembic_version": 1, "_yoyo_log": 26})
    now = _counted(tables={"cards": 20_000, "public.alembic_version": 2, "_yoyo_log": 27})
    assert conditions(was, now) == []
    assert moved_tables(was, now) == set()
    assert "tables = { cards = 20000 }" in to_toml(was, Tolerance())
