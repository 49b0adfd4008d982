"""The order of slots and what is asked in them: paired, balanced, the same for both arms."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from archzero_lab.errors import MeasurementError
from archzero_lab.experiments.schedule import schedule
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.arczero.traffic import slot_operations

CATALOG = Catalog(
    cards=9,
    ids=[f"00000000-0000-4000-8000-{i:012d}" for i in range(50)],
    common=["service"],
    middling=["a&b=c"],
    rare=["seldom"],
    short=["se"],
    types=["Risk"],
    phases=["Active"],
    owners=["3fa85f64-5717-4562-b3fc-2c963f66afa6"],
    tags=["x y"],
    attributes=['{"region":"emea"}'],
)


def test_a_schedule_is_paired_and_balanced_by_its_seed() -> None:
    slots = schedule(["a", "b"], 200, seed=4)
    assert slots == schedule(["a", "b"], 200, seed=4)
    assert slots != schedule(["a", "b"], 200, seed=5)
    for block in range(200):
        assert sorted(slot.arm for slot in slots if slot.block == block) == ["a", "b"]
    first = Counter(slot.arm for slot in slots if slot.order == 0)
    assert 70 <= first["a"] <= 130


@pytest.mark.parametrize("kind", ["list", "detail", "search", "filter"])
def test_both_arms_of_a_block_get_the_same_requests_evenly(kind: str) -> None:
    made = slot_operations(kind, CATALOG, distinct=6, requests=12, seed=1, block=3)
    assert made == slot_operations(kind, CATALOG, distinct=6, requests=12, seed=1, block=3)
    assert len(made.timed) == 12
    assert set(made.timed) <= set(made.warm_up)
    for operation in made.timed:
        assert " " not in operation.path
        assert operation.path.isascii()


def test_text_in_a_path_is_escaped() -> None:
    made = slot_operations("search", CATALOG, distinct=5, requests=10, seed=1, block=0)
    assert any("a%26b%3Dc" in operation.path for operation in made.warm_up)


def test_an_empty_database_is_told_before_anything_is_measured() -> None:
    with pytest.raises(MeasurementError, match="holds no active card"):
        slot_operations("detail", replace(CATALOG, ids=[]), distinct=1, requests=1, seed=1, block=0)
