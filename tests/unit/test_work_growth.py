"""Laws of growth: the exponent of what grows is found, its word said, and the size at which a limit is met."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import LabError
from archzero_lab.jobs.work.counted import Counted, CountedKind, CountedPass, CountedStatement
from archzero_lab.jobs.work.growth import laws
from archzero_lab.stats.growth import fit

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


@given(st.floats(0.26, 2.5), st.floats(2, 50))
def test_a_power_s_exponent_and_the_size_at_its_limit_are_found(exponent: float, factor: float) -> None:
    blocks = [factor * size**exponent for size in SIZES]
    law = fit("x", SIZES, blocks, limit=10**9)
    assert law.exponent == pytest.approx(exponent)
    assert law.low <= law.exponent <= law.high
    meets = (10**9 / factor) ** (1 / exponent)
    assert law.limit_at == (pytest.approx(meets, rel=1e-3) if meets < 1e12 else None)


@pytest.mark.parametrize(
    ("of_size", "word"),
    [
        (lambda size: 4.0, "constant"),
        (lambda size: 3.0 + math.log2(size), "logarithmic"),
        (lambda size: size**0.4, "slower than linear"),
        (lambda size: 5 + size / 40, "linear"),
        (lambda size: size**1.5, "worse than linear"),
    ],
)
def test_each_law_has_its_word(of_size: object, word: str) -> None:
    assert fit("x", SIZES, [of_size(size) for size in SIZES], 50_000).word == word  # type: ignore[operator]


def test_an_interval_that_spans_every_word_says_none() -> None:
    assert fit("x", (100, 1_000, 10_000, 100_000), [10, 10, 10, 5_000], 50_000).word == "not known"


def test_what_does_not_grow_has_an_exponent_of_nothing() -> None:
    law = fit("x", SIZES, [23.0] * 5, 50_000)
    assert (law.exponent, law.low, law.high, law.limit_at) == (0.0, 0.0, 0.0, None)


def test_reads_get_a_law_with_where_their_plan_turned_and_writes_none() -> None:
    def counted(size: int) -> Counted:
        plan = "Seq Scan on cards" if size < 10_000 else "Index Scan using i on cards"
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", 10, 10, size, plans={plan: 10})})
        kinds = {"list": CountedKind(10, read), "add": CountedKind(10, CountedPass(), writes=True)}
        return Counted("shop", "candidate", size, 1, 10, 18, {"cards": size}, kinds)

    (law,) = laws({size: counted(size) for size in SIZES}, limit=50_000)
    assert (law.kind, law.word) == ("list", "linear")
    assert law.limit_at == pytest.approx(500_000)
    assert law.turned == ("another plan between 3,000 and 10,000",)
    assert law.finding
    assert not law.in_a_loop


def test_no_law_goes_across_a_plan_that_turned() -> None:
    def counted(size: int) -> Counted:
        plan, blocks = ("Seq Scan on cards", size) if size < 30_000 else ("Index Scan using i on cards", 4)
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", 1, 1, blocks, plans={plan: 1})})
        return Counted("shop", "here", size, 1, 1, 18, {"cards": size}, {"list": CountedKind(1, read)})

    (law,) = laws({size: counted(size) for size in SIZES}, limit=50_000)
    assert (law.word, law.limit_at, law.finding) == ("not known", None, False)
    assert law.turned == ("another plan between 10,000 and 30,000",)


def test_rows_are_those_of_the_table_that_the_plan_reads() -> None:
    def counted(size: int) -> Counted:
        rows = min(size, 5_000)
        plan = {"Seq Scan on kinds": 1}
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", 1, 1, rows // 10, plans=plan)})
        return Counted("shop", "here", size, 1, 1, 18, {"cards": size, "kinds": rows}, {"list": CountedKind(1, read)})

    (law,) = laws({size: counted(size) for size in (1_000, 3_000, 5_000, 30_000)}, limit=50_000)
    assert law.exponent == pytest.approx(1)
    assert law.word == "linear"


def test_more_statements_for_more_rows_are_a_finding_whatever_they_read() -> None:
    def counted(size: int) -> Counted:
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", size // 100, 1, 4)})
        return Counted("shop", "here", size, 1, 1, 18, {"cards": size}, {"list": CountedKind(1, read)})

    (law,) = laws({size: counted(size) for size in SIZES}, limit=50_000)
    assert (law.word, law.in_a_loop, law.finding) == ("constant", True, True)


def test_sizes_that_the_database_has_not_are_left_out_of_the_law() -> None:
    def counted(size: int, there: int) -> Counted:
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", 1, 1, there // 10)})
        return Counted("shop", "here", size, 1, 1, 18, {"cards": there}, {"list": CountedKind(1, read)})

    sizes = (1_000, 2_000, 4_000, 8_000, 80_000)
    (law,) = laws({size: counted(size, min(size, 9_000)) for size in sizes}, limit=50_000)
    assert (law.sizes, law.word) == (sizes[:4], "linear")
    with pytest.raises(LabError, match="the largest table has not as many rows"):
        laws({size: counted(size, 1_500) for size in sizes}, limit=50_000)


def test_a_statement_that_more_of_the_requests_send_once_is_no_loop() -> None:
    def counted(size: int) -> Counted:
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", min(10, size // 1_000), 1, 4)})
        return Counted("shop", "here", size, 1, 10, 18, {"cards": size}, {"list": CountedKind(10, read)})

    (law,) = laws({size: counted(size) for size in SIZES}, limit=50_000)
    assert law.statements[0] < law.statements[-1] == 1
    assert not law.in_a_loop


def test_a_request_that_reads_the_limit_already_is_a_finding_whatever_its_law() -> None:
    def counted(size: int) -> Counted:
        read = CountedPass(statements={"aa": CountedStatement("SELECT 1", 1, 1, 600)})
        return Counted("shop", "here", size, 1, 1, 18, {"cards": size}, {"list": CountedKind(1, read)})

    (law,) = laws({size: counted(size) for size in SIZES}, limit=500)
    assert (law.word, law.limit_at, law.finding) == ("constant", SIZES[-1], True)
