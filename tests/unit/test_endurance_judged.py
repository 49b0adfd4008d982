"""What verify-faults calls a violation, and what a slow machine excuses."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from archzero_lab.cli import app
from archzero_lab.jobs.consistency import endurance
from archzero_lab.jobs.consistency.clients import Asked, Recording
from archzero_lab.jobs.consistency.endurance import Endurance, Met, Use, _grown, _waits
from archzero_lab.servers import exclusive, stack

FINE = Use(300, 200)


def found(met: list[Met], asked: list[Asked], after: Use = FINE, strange: Counter[str] | None = None) -> Endurance:
    recording = Recording(asked=[Asked(0.0, 0.01, 200), *asked], strange=strange or Counter())
    return Endurance(met, recording, FINE, after, {}, 60.0)


def test_nothing_is_said_where_all_holds() -> None:
    met = [Met("dear", 10, 10, 14, 0.1), Met("postgres killed", 20, 20, 24, 3.0)]
    asked = [*[Asked(11 + n / 100, 0.4, 200) for n in range(100)], Asked(21, 2.0, 503, True), Asked(22, 0.1, 200)]
    of = found(met, asked)
    assert (_waits(of), _grown(of), of.slow_machine) == ([], [], False)


@pytest.mark.parametrize(
    ("fault", "back_s", "asked", "said"),
    [
        ("dear", 0.1, [Asked(11, 3.0, 200)], "dear: p99 of other clients 3.0 s, above 2"),
        ("dear", 0.1, [Asked(11, 0.1, 503, True)], "dear: 1 of 1 requests of other clients were not answered 200"),
        ("silent", 0.1, [], "silent: nobody was answered"),
        ("redis killed", 0.1, [Asked(11, 13.0, 200)], "redis killed: a request took 13.0 s, above 12"),
        ("worker killed", 11.0, [Asked(11, 0.1, 200)], "worker killed: well again only after 11.0 s, above 10"),
    ],
)
def test_what_does_not_hold_is_said(fault: str, back_s: float, asked: list[Asked], said: str) -> None:
    assert _waits(found([Met(fault, 10, 10, 14, back_s)], asked)) == [said]


def test_what_was_asked_before_a_fault_may_still_have_waited_for_another_one_s_end() -> None:
    met = [Met("postgres swallowed", 2, 2, 6, 0.1), Met("silent", 10, 10.1, 14, 0.1)]
    asked = [Asked(3, 0.1, 503, True), Asked(8.5, 4.0, 503, True), Asked(11, 0.1, 200)]
    of = found(met, asked)
    assert of.asked_in("silent") == [asked[2]]
    assert _waits(of) == []


def test_growth_and_strange_answers_are_said() -> None:
    assert _grown(found([], [], Use(700, 300), Counter({"PUT answered 500": 2}))) == [
        "2 times: PUT answered 500",
        "memory grew from 300 to 700 MB",
        "open files grew from 200 to 300",
    ]


def test_a_machine_on_which_others_wait_for_nothing_is_slow() -> None:
    met = [Met("dear", 10, 10, 14, 20.0)]
    assert not found(met, [Asked(11, 9.0, 200)]).slow_machine
    assert found(met, [Asked(1.0, 1.5, 200), Asked(2.0, 1.5, 200), Asked(11, 9.0, 200)]).slow_machine


@pytest.mark.parametrize(
    ("broken", "waits", "arguments", "code"),
    [
        ([], [], [], 0),
        ([], ["dear: p99 of other clients 3.0 s"], [], 1),
        ([], ["dear: p99 of other clients 3.0 s"], ["--promises"], 0),
        (["2 new items were acknowledged and are not there"], [], ["--promises"], 1),
        (["2 new items were acknowledged and are not there"], [], [], 1),
    ],
)
def test_promises_alone_leave_waits_to_be_read(
    monkeypatch: pytest.MonkeyPatch, broken: list[str], waits: list[str], arguments: list[str], code: int
) -> None:
    judged = found([Met("dear", 10, 10, 14, 0.1)], [Asked(11, 3.0, 200)])
    judged.broken, judged.waits = broken, waits
    monkeypatch.setattr(endurance, "verify_faults", lambda *given, **named: judged)
    monkeypatch.setattr(stack, "running_stack", lambda settings: nullcontext())
    monkeypatch.setattr(exclusive, "exclusive", lambda name: nullcontext())
    done = CliRunner().invoke(app, ["verify-faults", *arguments])
    assert done.exit_code == code
    assert all(what in done.output for what in (*broken, *waits))


def test_an_attack_is_judged_by_what_waited_once_it_was_under_way() -> None:
    quick_before = [Asked(10 + n / 1000, 0.01, 200) for n in range(1000)]
    held = Asked(11.5, 3.5, 200)  # asked before it was wholly there, and held by it
    assert _waits(found([Met("locked", 10, 12, 16, 0.1)], [*quick_before, held])) == [
        "locked: p99 of other clients 3.5 s, above 2"
    ]
