"""The check over a history finds what must not be, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.jobs.consistency.check import check
from archzero_lab.systems.histories import Read, Write

MS = 1_000_000


def _write(version: int, began: int, ended: int) -> Write:
    return Write("k", version, began * MS, ended * MS)


def _read(version: int, began: int, ended: int, session: str = "s") -> Read:
    return Read("k", version, began * MS, ended * MS, session, "card")


def _kinds(writes: list[Write], reads: list[Read], *, strict: bool = True) -> list[str]:
    return [violation.kind for violation in check(writes, reads, strict=strict).violations]


def test_a_read_during_a_write_may_give_either_version() -> None:
    assert _kinds([_write(2, 10, 20)], [_read(1, 12, 14, "a"), _read(2, 12, 14, "b")]) == []


def test_a_read_after_the_acknowledgement_must_give_the_new_version() -> None:
    assert _kinds([_write(2, 10, 20)], [_read(1, 21, 22)]) == ["stale"]
    assert _kinds([_write(2, 10, 20)], [_read(1, 19, 30)]) == []


def test_a_later_acknowledgement_of_an_earlier_version_lowers_nothing() -> None:
    writes = [_write(3, 11, 13), _write(2, 10, 20)]
    assert _kinds(writes, [_read(2, 15, 16)]) == ["stale"]
    assert _kinds(writes, [_read(3, 25, 26)]) == []


def test_a_session_must_not_go_back_even_before_an_acknowledgement() -> None:
    assert _kinds([_write(2, 10, 90)], [_read(2, 20, 21), _read(1, 30, 31)]) == ["back"]
    assert _kinds([_write(2, 10, 90)], [_read(2, 20, 21, "a"), _read(1, 30, 31, "b")]) == []


def test_a_version_that_nobody_had_asked_for_is_unwritten() -> None:
    assert _kinds([_write(2, 10, 20)], [_read(2, 1, 5)]) == ["unwritten"]


def test_staleness_is_measured_from_the_first_newer_acknowledgement() -> None:
    verdict = check([_write(2, 0, 10), _write(3, 20, 30)], [_read(1, 60, 61)], strict=False)
    assert verdict.violations == []
    assert verdict.late_ms == [50.0]
    assert verdict.nines() == {0: 0.0, 10: 0.0, 100: 1.0, 1_000: 1.0, 10_000: 1.0}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=12), st.data())
def test_a_register_that_takes_effect_at_one_moment_never_violates(
    gaps: list[tuple[int, int]], data: st.DataObject
) -> None:
    writes, effects, now = [], [(0, 1)], 1
    for version, (gap, length) in enumerate(gaps, 2):
        began, ended = now + gap, now + gap + length
        effects.append((data.draw(st.integers(began, ended)), version))
        writes.append(_write(version, began, ended))
        now = ended + 1
    reads = []
    for at in sorted(data.draw(st.lists(st.integers(0, now + 20), max_size=20))):
        version = max(version for moment, version in effects if moment <= at)
        reads.append(_read(version, max(0, at - 1), at + 1))
    assert check(writes, reads).violations == []


def test_a_write_that_was_refused_may_have_been_made_and_one_alone() -> None:
    made, refused = Write("a", 2, 0, 10), Write("a", 0, 20, 30, refused=True)
    assert check([made, refused], [Read("a", 3, 40, 50, "s", "card")]).violations == []
    assert [v.kind for v in check([made, refused], [Read("a", 4, 40, 50, "s", "card")]).violations] == ["unwritten"]
    assert [v.kind for v in check([made, refused], [Read("a", 3, 15, 18, "s", "card")]).violations] == ["unwritten"]
    assert check([made, refused], [Read("a", 2, 40, 50, "s", "card")]).violations == [], "it was never acknowledged"
