"""A count's file: what was counted is read back, older formats too, and what is no count is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.work.baseline import Tolerance, read_baseline, to_toml, write_baseline
from archzero_lab.jobs.work.counted import CountedCommand, CountedPass, CountedStatement
from archzero_lab.jobs.work.differences import differences
from tests.unit.test_work_differences import BITMAP, SEQ, _counted

_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
_NUMBERS = st.integers(0, 10**12)
_STATEMENTS = st.builds(
    CountedStatement, sql=_NAMES, calls=st.integers(1, 99), rows=_NUMBERS, blocks=_NUMBERS, temporary=_NUMBERS,
    plans=st.sampled_from([{}, {BITMAP: 3}, {SEQ: 2}]),
)  # fmt: skip
_PASSES = st.builds(
    CountedPass, bytes=st.one_of(st.none(), _NUMBERS),
    statements=st.dictionaries(st.from_regex(r"[0-9a-f]{7}", fullmatch=True), _STATEMENTS, max_size=3),
    redis=st.dictionaries(_NAMES, st.builds(CountedCommand, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS), max_size=2),
    wal=st.dictionaries(st.from_regex(r"[A-Z][a-z]+/[A-Z_+]+", fullmatch=True), _NUMBERS, max_size=2),
    wal_bytes=st.just(0),
)  # fmt: skip


@given(first=_PASSES, again=st.one_of(st.none(), _PASSES), name=st.text(min_size=1, max_size=12), reason=_NAMES)
def test_whatever_was_counted_is_read_back_from_its_file(
    first: CountedPass, again: CountedPass | None, name: str, reason: str
) -> None:
    texts: dict[str, CountedStatement] = {}
    for one in filter(None, (first, again)):  # a mark has one text and a plan is written as often as it was run
        for mark, statement in one.statements.items():
            statement.sql = texts.setdefault(mark, statement).sql
            statement.plans = dict.fromkeys(statement.plans, statement.calls)
        one.statements = dict(sorted(one.statements.items()))
    if again is not None and again.bytes is None:
        again.bytes = first.bytes
    counted = _counted(first, again=again, reason=reason)
    counted.kinds = {name: counted.kinds["search"]}
    counted.kinds[name].drawn = "0a1b2c3d"
    text = to_toml(counted, Tolerance(blocks=0.5))
    path = Path("/dev/shm") / "archzero-work-read-back.toml"  # noqa: S108  # written and read within the test
    path.write_text(text)
    found = read_baseline(path)
    path.unlink()
    assert found.counted == counted
    assert found.tolerance == Tolerance(blocks=0.5)


@given(first=_PASSES, again=_PASSES)
def test_a_count_differs_in_nothing_from_its_own_file(first: CountedPass, again: CountedPass) -> None:
    counted = _counted(first, again=again)
    path = Path("/dev/shm") / "archzero-work-own-file.toml"  # noqa: S108  # written and read within the test
    path.write_text(to_toml(counted, Tolerance()))
    own = read_baseline(path).counted
    path.unlink()
    if again.bytes is None or first.bytes is None:
        return  # what may differ in length is written for neither
    assert differences(own, counted, Tolerance()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "is not valid TOML"),
        ("", "is no count of format 2"),
        ('format = 1\n[of]\nsystem = "shop"', "is no whole count"),
        ("format = 2\n[tolerance]\nblock = 1", "is no whole count"),
        ('format = 2\n[of]\nasked = 1\n[request.a]\nstatement.ab = "many"', "is no whole count"),
        ('format = 2\n[of]\nasked = 1\n[request.a]\nredis.GET = "1x 2 apples"', "is no whole count"),
    ],
)
def test_a_file_that_is_no_count_is_refused_with_what_to_do(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "work.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=told):
        read_baseline(file)


def test_a_file_of_the_first_format_says_the_same_as_one_of_the_second(tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(_FORMAT_1)
    baseline = read_baseline(old)
    write_baseline(new, baseline.counted, baseline.tolerance)
    assert read_baseline(new) == baseline
    first = baseline.counted.kinds["list"].first
    assert first.redis == {"MGET": CountedCommand(20, 80, 2780, 260555)}
    statement = first.statements["7d08568"]
    assert (statement.calls, statement.rows, statement.blocks, statement.sql) == (20, 1, 4622, "SELECT 1")
    assert statement.plans == {"Seq Scan on a": 19, "p9123e": 1}
    assert first.statements["18f5ffb inner"].calls == 2
    assert (first.wal, first.wal_bytes) == ({"Heap/INSERT": 2}, 486)


_FORMAT_1 = """
format = 1
[of]
system = "s"
arm = "a"
size = 1
seed = 1
asked = 20
postgres = 18
tables = {}
[tolerance]
blocks = 0.02
[request.list]
requests = 20
bytes = 289354
statement.7d08568a = { calls = 20, rows = 1, blocks = 4622, plan = { pbf3bf = 19, p9123e = 1 } }
inner = { 18f5ffbc = 2 }
redis.MGET = { calls = 20, keys = 80, sent = 2780, answered = 260555 }
wal = { "Heap/INSERT" = 2 }
wal_bytes = 486
[request.list.again]
redis.MGET = { calls = 40, keys = 540, sent = 15480, answered = 269815 }
[statements]
7d08568a = "SELECT 1"
18f5ffbc = "SELECT 2"
[plans]
pbf3bf = "Seq Scan on a"
"""


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name a file that can be written"):
        write_baseline(tmp_path / "nowhere" / "work.toml", _counted())
