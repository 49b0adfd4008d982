"""Experiments of one's own on callables: verdicts, stopping, arms that raise, metrics that there are none of."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable

import pytest

from archzero_lab.errors import MeasurementError, SettingsError, UnknownNameError
from archzero_lab.experiments.own import Course, OwnArm, run_own
from archzero_lab.experiments.own_metrics import OwnMetric
from archzero_lab.jupyter.experiment import experiment
from archzero_lab.stats.verdict import Change


def _spin(ms: float) -> Callable[[], None]:
    """Work of a known length, by the clock: what else the machine does hardly matters."""

    def work() -> None:
        until = time.perf_counter() + ms / 1000
        while time.perf_counter() < until:
            pass

    return work


def test_a_slower_and_a_faster_treatment_are_told_apart_with_their_size() -> None:
    slower = experiment(_spin(0.5), _spin(1.0), blocks=20, calls=20, metric="mean")
    assert slower.verdict == "regressed"
    assert slower.ci_low <= slower.effect_size <= slower.ci_high
    assert slower.effect_size == pytest.approx(2.0, rel=0.4)
    assert list(slower.blocks.columns) == ["block", "order", "arm", "calls", "ms", "steal"]
    assert len(slower.blocks) == 40
    assert set(slower.blocks.groupby("block")["order"].sum()) == {1}
    faster = experiment(_spin(1.0), _spin(0.5), blocks=20, calls=20)
    assert faster.verdict == "improved"
    assert "improved" in faster._repr_html_()
    assert "<svg" in faster._repr_html_()
    assert f"treatment / control {faster.effect_size:.3f} (" in repr(faster)


def test_more_calls_a_second_are_an_improvement_and_fewer_are_none() -> None:
    faster = experiment(_spin(1.0), _spin(0.5), metric="throughput", blocks=20, calls=40)
    assert (faster.verdict, list(faster.blocks.columns)[4]) == ("improved", "calls_a_second")
    assert faster.effect_size == pytest.approx(2.0, rel=0.4)
    assert "a second → " in repr(faster)
    assert "calls a second" in faster._repr_html_()
    assert experiment(_spin(0.5), _spin(1.0), metric="throughput", blocks=20, calls=40).verdict == "regressed"


def _now_and_then(one_in: int, act: Callable[[], None]) -> Callable[[], None]:
    """A call that does something once in so many."""
    called = itertools.count(1)

    def work() -> None:
        if next(called) % one_in == 0:
            act()

    return work


def _raise() -> None:
    raise TimeoutError("no answer")


def test_calls_that_take_longer_and_calls_that_raise_are_shares() -> None:
    seldom, often = (_now_and_then(one_in, _spin(4.0)) for one_in in (50, 5))
    over = experiment(seldom, often, metric="share_over", over_ms=3.0, blocks=8)
    assert over.verdict == "regressed"
    assert over.blocks["share"].max() <= 1
    assert over.blocks["calls"].min() >= 100
    failing = experiment(_now_and_then(4, _raise), _now_and_then(40, _raise), metric="error_share", blocks=8, calls=200)
    assert failing.verdict == "improved"
    assert failing.effect_size == pytest.approx(0.1, rel=0.6)
    assert "%" in repr(failing)


def test_a_share_of_hardly_any_event_is_no_verdict() -> None:
    found = experiment(_now_and_then(400, _raise), lambda: None, metric="error_share", blocks=8, calls=100)
    assert found.verdict == "inconclusive"
    assert "needs at least 10 calls of that kind, had 2 of 1,600" in "".join(found.warnings)


@pytest.mark.parametrize(("metric", "over_ms"), [("share_over", None), ("p50", 3.0), ("error_share", 3.0)])
def test_a_share_of_what_is_not_said_is_refused(metric: str, over_ms: float | None) -> None:
    with pytest.raises(SettingsError, match="belong together"):
        experiment(_spin(0.1), _spin(0.1), metric=metric, over_ms=over_ms)


def test_the_same_work_twice_is_never_called_different_by_a_margin_of_half() -> None:
    same = experiment(_spin(0.5), _spin(0.5), blocks=8, calls=20, margin=0.5)
    assert same.verdict in ("equivalent", "inconclusive")


def test_it_returns_at_once_and_an_async_callable_is_an_arm_too() -> None:
    async def pause() -> None:
        await asyncio.sleep(0.002)

    began = time.perf_counter()
    found = experiment(pause, _spin(0.5), blocks=6, calls=10)
    returned_s = time.perf_counter() - began
    assert found.running
    assert "of 6 blocks measured" in repr(found)
    assert found.verdict == "improved"
    assert returned_s < (time.perf_counter() - began) / 2
    assert found.progress == 1.0


def test_stopping_ends_after_the_block_and_keeps_what_was_measured() -> None:
    found = experiment(_spin(1), _spin(1), blocks=1_000, calls=10)
    while found.progress == 0:
        time.sleep(0.001)  # until the first block is measured
    assert found.seconds_left is not None
    found.stop()
    result = found.wait()
    assert 1 <= len(result.blocks) // 2 < 1_000
    assert result.blocks.groupby("block")["arm"].nunique().eq(2).all()
    assert any(f"stopped after {len(result.blocks) // 2} of 1000 blocks" in warning for warning in result.warnings)


def test_one_may_look_at_every_moment_while_blocks_arrive() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a thread may lose its turn within any step of building a table
    try:
        found = experiment(lambda: None, lambda: None, blocks=4_000, calls=1)
        looks = 0
        while found.running and looks < 60:
            assert "<p>" in found.so_far_html()
            looks += 1
        found.stop().wait()
    finally:
        sys.setswitchinterval(before)
    assert looks > 5


def test_below_six_blocks_nothing_is_decided() -> None:
    few = experiment(_spin(0.2), _spin(2.0), blocks=5, calls=10)
    assert few.verdict == "inconclusive"
    assert "needs at least 6 blocks, had 5" in few.warnings


def test_an_arm_that_raises_is_named_with_its_block_and_every_arm_is_closed() -> None:
    closed: list[str] = []
    calls = 0

    def seldom() -> None:
        nonlocal calls
        calls += 1
        if calls > 60:
            raise ValueError("no luck")

    arms = [OwnArm(name, call, lambda name=name: closed.append(name))  # type: ignore[misc]
            for name, call in (("control", _spin(0.1)), ("treatment", seldom))]  # fmt: skip
    with pytest.raises(MeasurementError, match=r"treatment raised ValueError in block \d of 20: no luck; an arm must"):
        run_own(*arms, blocks=20, calls=10)
    assert sorted(closed) == ["control", "treatment"]


def test_an_error_of_the_background_reaches_who_asks_for_the_result() -> None:
    def broken() -> None:
        raise RuntimeError("boom")

    found = experiment(_spin(0.1), broken, blocks=6)
    with pytest.raises(MeasurementError, match="boom"):
        _ = found.verdict
    assert threading.main_thread().is_alive()


def test_what_is_no_metric_no_arm_and_no_number_of_blocks_is_told_at_once() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'p75'; known: p50, p95, p99, mean"):
        experiment(_spin(1), _spin(1), metric="p75")
    with pytest.raises(SettingsError, match="treatment is a int: an arm is a callable"):
        experiment(_spin(1), 5)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="blocks = 0"):
        experiment(_spin(1), _spin(1), blocks=0)


def test_a_quantile_gets_the_calls_that_it_needs() -> None:
    found = run_own(
        OwnArm("a", lambda: None), OwnArm("b", lambda: None), metric=OwnMetric("p95"), blocks=2, course=Course(2)
    )
    assert found.blocks["calls"].min() >= 200
    assert found.verdict is Change.INCONCLUSIVE
