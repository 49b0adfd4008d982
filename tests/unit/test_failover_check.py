"""The check of verify-failover finds what must not be, and nothing else."""

from __future__ import annotations

from archzero_lab.jobs.consistency.failover_check import check_failovers, longest_gaps_s
from archzero_lab.systems.failovers import Operations, Reading, Writing

LINEAGE = [("card", 2, "m2"), ("card", 3, "m3")]
WRITES = [Writing("card", 2, "m2", 10, 20), Writing("card", 3, "m3", 30, 40)]


def read(
    version: int, mark: str, at: int, *, through: str = "cached", session: str = "s", least: int = 0, after: str = ""
) -> Reading:
    return Reading("card", version, mark, at, at + 1, session, through, least, after)


def counts(reads: list[Reading], writes: list[Writing] = WRITES, promoted: list[int] | None = None) -> dict[str, int]:
    found = check_failovers(Operations(writes, reads), LINEAGE, promoted or []).counts()
    return {name: number for name, number in found.items() if number}


def test_a_history_that_holds_has_nothing() -> None:
    assert counts([read(1, "", 5), read(2, "m2", 25), read(3, "m3", 35), read(3, "m3", 50)]) == {}


def test_what_was_acknowledged_and_is_gone_is_lost() -> None:
    assert counts([], [*WRITES, Writing("card", 4, "m4", 50, 60)]) == {"lost": 1}
    assert counts([], [*WRITES, Writing("card", 0, "m4", 50, 60)]) == {}, "a refused one may be gone"


def test_a_mark_that_stands_twice_was_written_twice() -> None:
    found = check_failovers(Operations(WRITES, []), [*LINEAGE, ("card", 4, "m3")], [])
    assert found.doubled == ["m3"]
    assert not found.holds


def test_a_read_through_the_cache_below_what_was_acknowledged_is_stale_and_by_a_token_it_may_be() -> None:
    assert counts([read(2, "m2", 45)]) == {"stale": 1}
    assert counts([read(2, "m2", 45, through="plain")]) == {}


def test_a_session_sees_its_own_write_and_nothing_older_than_it_has_read() -> None:
    assert counts([read(2, "m2", 45, through="own", least=3, after="m3")]) == {"own": 1}
    assert counts([read(2, "m2", 45, through="own", least=4, after="gone")]) == {}, "a failover has erased it"
    older = [read(3, "m3", 45, through="plain"), read(2, "m2", 50, through="plain")]
    assert counts(older) == {"back": 1}
    assert counts([older[0], read(2, "m2", 50, through="plain", session="another")]) == {}


def test_what_a_failover_erased_is_a_phantom_once_the_new_primary_has_written() -> None:
    erased = Writing("card", 4, "gone", 41, 42)
    later = Writing("card", 3, "m3", 70, 80)
    writes = [WRITES[0], erased, later]
    assert counts([read(4, "gone", 75)], writes, [60]) == {"lost": 1}, "nothing of the new one was acknowledged yet"
    assert counts([read(4, "gone", 90)], writes, [60]) == {"lost": 1, "phantoms": 1}
    assert counts([read(4, "gone", 50), read(3, "m3", 90)], writes, [60]) == {"lost": 1}, "who saw it goes back rightly"


def test_the_longest_time_without_an_end_is_that_around_a_fault() -> None:
    ends = [int(second * 1e9) for second in (1, 2, 3, 8, 9, 10, 10.5, 11)]
    assert longest_gaps_s(ends, [int(3.5e9), int(9.5e9)], int(11e9)) == [5.0, 1.0]
    assert longest_gaps_s(ends, [int(1.5e9), int(3.5e9)], int(11e9)) == [1.0, 5.0], "each has its own"
    assert longest_gaps_s(ends, [int(9.5e9), int(10.7e9)], int(30e9)) == [1.0, 19.0], "what never came back is no 0"


def test_what_an_old_primary_took_beside_the_new_one_is_a_phantom_too() -> None:
    beside = Writing("card", 4, "zombie", 65, 66)
    writes = [WRITES[0], beside, Writing("card", 3, "m3", 70, 80)]
    reads = [read(4, "zombie", 90)]
    assert check_failovers(Operations(writes, reads), LINEAGE, [60]).phantoms == [], "nobody knows whose it was"
    assert check_failovers(Operations(writes, reads), LINEAGE, [60], {"zombie": 60}).phantoms == reads
