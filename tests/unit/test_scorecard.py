"""A report's first screen: what did not hold, how far it can be trusted, and the command that measures it again."""

from __future__ import annotations

from typing import Any

import pandas as pd

from archzero_lab.reporting.run_words import answer, measured_when, next_steps, repeat_command, trust
from archzero_lab.reporting.scorecard import index_page, rows
from archzero_lab.reporting.work_table import statements_table, work_table


def _claim(name: str, verdict: str, **besides: Any) -> dict[str, Any]:
    claim: dict[str, Any] = {
        "id": name.replace(" ", "_"),
        "title": name,
        "sentence": "",
        "section": "",
        "arms": {"control": "control", "treatment": "treatment"},
        "metric": "p50",
        "unit": "ms",
        "operations": "detail",
        "counter": "hits",
        "rule": "improvement",
        "claimed": {"before": 200, "after": 5, "improvement": 0.975, "unit": ""},
        "measured": {
            "before": 20.0, "after": 1.0, "after_ci_low": 0.9, "after_ci_high": 1.1, "improvement": 0.95,
            "ci_low": 0.94, "ci_high": 0.96, "blocks": 12, "samples": 360, "detectable": 0.1, "p": 0.01,
            "p_adjusted": 0.01, "counted": False,
        },
        "verdict": verdict,
        "note": "a note",
        "warnings": [],
    }  # fmt: skip
    return claim | besides


def _summary(*claims: dict[str, Any], **besides: Any) -> dict[str, Any]:
    environment = {"cpu": "AMD EPYC", "cores": 2, "memory_gb": 23.5, "postgres_settings": {}}
    return {
        "run_id": "20261129-030018-smoke-ef2f",
        "profile": "smoke",
        "seed": 3,
        "cards": 20_000,
        "relationships": 40_000,
        "parameters": {"blocks": 12},
        "environment": environment,
        "client": {"p50_ms": 0.1, "p95_ms": 0.2},
        "stages": [{"name": "load", "seconds": 61.0}, {"name": "measure", "seconds": 14.0}],
        "claims": list(claims),
    } | besides


MIXED = _summary(_claim("first", "confirmed"), _claim("second", "inconclusive"), _claim("third", "refuted"))


def test_claims_that_were_not_confirmed_come_first_and_are_named() -> None:
    assert [row["title"] for row in rows(MIXED)] == ["third", "second", "first"]
    assert answer(MIXED) == "Refuted: third. Undecided: second."
    assert answer(_summary(_claim("first", "confirmed"))) == "Every claim held."
    page = index_page(MIXED, [], {})
    assert page.index("Refuted: third.") < page.index("<svg") < page.index('id="scorecard"')


def test_a_page_of_claims_in_another_order_has_each_claims_own_numbers() -> None:
    third = _claim("third", "refuted", sentence="the third sentence")
    page = index_page(_summary(_claim("first", "confirmed", sentence="the first sentence"), third), [], {})
    section = page[page.index('id="about-third"') :]
    assert "the third sentence" in section[: section.index("</section>")]


def test_how_far_a_run_can_be_trusted_is_counted_not_listed() -> None:
    assert trust(MIXED).endswith("Nothing that the lab looks for disturbed the measurement.")
    warned = _summary(_claim("first", "confirmed", warnings=["slow"]), _claim("second", "refuted"))
    assert trust(warned) == (
        "This run could detect a change of 10% in any response time. "
        "1 of 2 results carries a warning, shown beside them."
    )


def test_a_claim_that_is_a_limit_says_so() -> None:
    claimed = {"before": 0, "after": [100, 500], "improvement": None, "unit": ""}
    limit = _claim("memory", "confirmed", claimed=claimed, unit="MB", rule="at_most")
    least = _claim("hits", "confirmed", claimed=claimed | {"after": [0.8, 0.9]}, unit="share", rule="at_least")
    assert [row["claimed"] for row in rows(_summary(limit, least))] == ["at most 500 MB", "at least 80%"]


def test_the_command_to_repeat_has_this_runs_profile_rows_seed_and_files() -> None:
    assert repeat_command(MIXED).endswith("report --profile smoke --cards 20000 --seed 3")
    assert repeat_command(MIXED | {"inventory": "cards.csv"}).endswith("--seed 3 --inventory cards.csv")
    commands = [command for _, command in next_steps(MIXED)]
    assert commands[0].endswith("report --profile smoke --cards 20000 --seed 3 --until-decided 5 --only second")
    asked = {"asked": {"only": ["first"], "until_decided_min": 2, "files": {"inventory": "cards.jsonl"}}}
    assert repeat_command(MIXED | asked).endswith(
        "report --profile smoke --seed 3 --inventory cards.jsonl --until-decided 2 --only first"
    )
    assert repeat_command(MIXED) in commands


def test_when_and_on_what_it_was_measured() -> None:
    assert (
        measured_when(MIXED)
        == "2026-11-29 03:00; 1\N{NO-BREAK SPACE}min\N{NO-BREAK SPACE}15\N{NO-BREAK SPACE}s; AMD EPYC, 2 cores, 24 GB"
    )
    assert measured_when(MIXED | {"run_id": "renamed"}).startswith("1\N{NO-BREAK SPACE}min")


def test_work_stands_beside_the_times_a_request_and_an_arm() -> None:
    control = {"requests": 40, "cache_hits": 0, "statements_per_1000": 1000.0, "blocks_per_1000": 2_670_000.0,
               "rows_per_1000": 50_000.0,
               "redis_calls_per_1000": 0.0, "wal_bytes_per_1000": 0.0, "temporary_blocks_per_1000": None}  # fmt: skip
    treatment = {
        **dict.fromkeys(control, 0.0),
        "requests": 40,
        "cache_hits": 40,
        "temporary_blocks_per_1000": None,
        "redis_calls_per_1000": 1000.0,
    }
    counted = _claim("counted", "confirmed", mechanism={"control": control, "treatment": treatment, "moved": True})
    assert work_table(counted) == [
        ["a request", "control", "treatment"], ["statements", "1", "0"], ["rows", "50", "0"],
        ["blocks read", "2,670", "0"], ["WAL bytes", "0", "0"], ["calls of Redis", "0", "1"],
        ["found in the cache", "0", "1"],
    ]  # fmt: skip
    page = index_page(_summary(counted, _claim("not counted", "refuted", mechanism={"moved": True})), [], {})
    assert page.count("counted beside the times") == 1
    assert ">2,670</td>" in page


def test_each_statement_of_a_claim_is_shown_by_what_a_request_makes_of_it() -> None:
    counted = {"control": {"requests": 40}, "treatment": {"requests": 20}, "moved": True}
    claim = _claim("counted", "confirmed", mechanism=counted)
    statements = pd.DataFrame(
        [
            ("counted", 0, "control", "SELECT 1 FROM a WHERE b = $1", 20, 40, 900, 0),
            ("counted", 1, "control", "SELECT 1 FROM a WHERE b = $1", 20, 40, 900, 0),
            ("counted", 1, "treatment", "SELECT 1 FROM a WHERE b = $1", 10, 10, 20, 0),
            ("counted", 1, "treatment", "SELECT 2", 20, 20, 0, 0),
            ("another", 1, "treatment", "SELECT 3", 20, 20, 0, 0),
        ],
        columns=["claim", "block", "arm", "statement", "calls", "rows", "blocks", "temporary"],
    )
    assert statements_table(claim, statements) == [
        ["a request", "control", "treatment"],
        ["SELECT 1 FROM a WHERE b = $1", "1 call, 2 rows, 45 blocks", "0.5 calls, 0.5 rows, 1 block"],
        ["SELECT 2", "not sent", "1 call, 1 row, 0 blocks"],
    ]
    page = index_page(_summary(claim), [], {}, statements=statements)
    assert "Statement by statement (2)" in page
    assert "Statement by statement" not in index_page(_summary(claim), [], {}, statements=statements[:0])


def test_a_claim_of_the_cache_shows_what_a_hit_costs_and_others_do_not() -> None:
    other = _claim("other", "confirmed", counter="blocks")
    page = index_page(
        _summary(_claim("cached", "confirmed"), other, hit_costs={"detail": {"Redis itself": 25.1}}), [], {}
    )
    assert page.count("What a hit costs in CPU: 25 µs") == 1
