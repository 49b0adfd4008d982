"""The load tests' mix, without Locust: weights, Zipf's law, and what the report says of them."""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

from archzero_lab.settings import ROOT

sys.path.insert(0, str(ROOT / "loadtests"))
from mix import WEIGHTS, ZIPF_EXPONENT, Zipf  # the load tests are scripts of Locust's, not a package

from archzero_lab.pipeline.locust_stage import _MIX


def test_what_the_report_says_of_the_mix_is_what_the_load_tests_do() -> None:
    assert WEIGHTS["edit card"] / sum(WEIGHTS.values()) == pytest.approx(0.01)
    assert ZIPF_EXPONENT == 1.0
    assert _MIX == "1 edit in 100, cards by Zipf's law with exponent 1"


def test_zipf_draws_the_first_twice_as_often_as_the_second() -> None:
    drawn = Counter(Zipf([str(rank) for rank in range(100)]).draw(random.Random(rank)) for rank in range(20_000))
    assert drawn["0"] / drawn["1"] == pytest.approx(2.0, rel=0.15)
    assert drawn["0"] / drawn["9"] == pytest.approx(10.0, rel=0.35)
