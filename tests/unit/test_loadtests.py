"""The load tests' parts that need no Locust: mix, popularity, checks of answers, histograms, levels, search, logs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archzero_lab.settings import ROOT

sys.path.insert(0, str(ROOT / "loadtests"))
# the load tests are scripts of Locust's, not a package
from access_log import LogError, read_log
from actions import ACTIONS, Call, draw, what_is_wrong
from catalog import Catalog
from levels import LEVELS, SPIKE
from mix import WEIGHTS, ZIPF_EXPONENT, Zipf
from search import LEAST_PER_S, PRECISION, Search
from sketch import ACCURACY, Sketch

from archzero_lab.jobs.load.request import SHAPES
from archzero_lab.jobs.load.result import LEAST_PER_S as LEAST_OF_A_RESULT
from archzero_lab.jobs.load.result import capacity_of
from archzero_lab.systems.arczero.system import ArcZero

IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(50)]
CATALOG = Catalog(Zipf(IDS), Zipf(["service", "a&b"]), Zipf(["Risk", "Application"]), Zipf(["Active"]))


def test_what_the_report_says_of_the_mix_is_what_the_load_tests_do() -> None:
    assert WEIGHTS["edit card"] / sum(WEIGHTS.values()) == pytest.approx(0.01)
    assert set(WEIGHTS) == set(ACTIONS)
    assert ZIPF_EXPONENT == 1.0
    assert ArcZero.mix == "1 edit in 100, cards by Zipf's law with exponent 1"


def test_zipf_draws_the_first_twice_as_often_as_the_second() -> None:
    drawn = Counter(Zipf([str(rank) for rank in range(100)]).draw(random.Random(rank)) for rank in range(20_000))
    assert drawn["0"] / drawn["1"] == pytest.approx(2.0, rel=0.15)
    assert drawn["0"] / drawn["9"] == pytest.approx(10.0, rel=0.35)


def test_the_mix_has_its_weights_and_every_path_is_encoded() -> None:
    rng = random.Random(3)
    actions = [draw(rng, CATALOG) for _ in range(20_000)]
    names = Counter(calls[0].name for calls in actions)
    for name, weight in WEIGHTS.items():
        assert names[name] == pytest.approx(20 * weight, rel=0.15, abs=12)
    for call in (call for calls in actions for call in calls):
        assert call.path.isascii()
        assert " " not in call.path
        assert (call.body is not None) == (call.method != "GET")


def test_a_fast_wrong_answer_is_a_failure() -> None:
    call = ACTIONS["open card"](random.Random(1), CATALOG)[0]
    card = call.path.rpartition("/")[2]
    assert what_is_wrong(call, 200, f'{{"id":"{card}"}}') is None
    assert what_is_wrong(call, 200, "{}") == f'the answer does not hold "id":"{card}"'
    assert what_is_wrong(call, 404, f'{{"id":"{card}"}}') == "status 404"
    replayed = Call("GET /x", "/x", status=0)
    assert what_is_wrong(replayed, 404, "") is None
    assert what_is_wrong(replayed, 503, "") == "status 503"
    assert what_is_wrong(replayed, 0, "") == "status 0"


_CLASSES = """
import single_actions, portfolio_users
for module in (single_actions, portfolio_users):
    for name, found in vars(module).items():
        if isinstance(found, type) and getattr(found, "tasks", None):
            print(name, *sorted({task.__name__ for task in found.tasks}))
"""


def test_people_who_do_one_thing_do_nothing_else() -> None:
    """In a process of its own: importing Locust changes the one that does."""
    done = subprocess.run(
        [sys.executable, "-c", _CLASSES], cwd=ROOT / "loadtests", capture_output=True, text=True, check=True
    )
    tasks = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := line.split())}
    everything = sorted(name.replace(" ", "_") for name in ACTIONS)
    assert tasks.pop("PortfolioUser") == everything
    assert tasks["OpensCards"] == ["open_card"]
    assert tasks["BrowsesLists"] == ["browse_list", "filter_list"]
    assert sorted(name for names in tasks.values() for name in names) == everything


_JUDGED = """
import json
from recorder import RECORDER, Second
import pace, results

def second(late_ms=1, response_ms=20, dropped=0, cpu=30.0):
    made = Second()
    made.counts |= {"offered": 100 + dropped, "done": 100, "dropped": dropped}
    for _ in range(100):
        made.times["late"].add(late_ms / 1000)
        made.times["response"].add(response_ms / 1000)
    made.cpu = {"locust": cpu}
    return made

for name, found in {
    "in order": second(), "late": second(late_ms=30), "late beside slow answers": second(late_ms=30, response_ms=900),
    "dropped": second(dropped=7), "busy": second(cpu=97.0),
}.items():
    print(json.dumps([name, results.reasons_of(found, "open")]))
print(json.dumps(["own doing", results.generator_reasons(second(dropped=7, late_ms=30), "open")]))
print(json.dumps(["late users", results.reasons_of(second(late_ms=30), "closed")]))

class Environment:
    host = "http://127.0.0.1:1"

def valid(late):
    pace.CURRENT.duration_s = 100.0
    RECORDER.seconds = {at: second(late_ms=30 if at // 5 < late else 1) for at in range(100)}
    found = results.result(Environment, "open", "constant")
    return [found["valid"], len(found["reasons"]), found["requests"], found["seconds"]]

print(json.dumps(["two blocks of twenty", valid(2)]))
print(json.dumps(["three blocks of twenty", valid(3)]))
"""


def test_where_the_generator_is_in_the_way_the_block_and_then_the_run_are_invalid() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _JUDGED], cwd=ROOT / "loadtests", capture_output=True, text=True, check=True
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert found["in order"] == found["late beside slow answers"] == found["late users"] == []
    assert found["late"] == ["the generator was late (p99 30 ms)"]
    assert found["dropped"] == ["the generator dropped 7 requests: too many were unanswered"]
    assert found["own doing"] == ["the generator was late (p99 30 ms)"], "a drop is what the service left unanswered"
    assert found["busy"] == ["Locust is the bottleneck (97 % of a core)"]
    assert found["two blocks of twenty"] == [True, 2, 10_000, 100]
    assert found["three blocks of twenty"] == [False, 3, 10_000, 100]


_TOLD_LATE = """
import time
import pace

pace.CURRENT.set(shape="constant", rate=100.0, duration_s=8.0, processes=2, origin=time.time() - 0.25)
now_s = time.perf_counter()
print(pace.CURRENT.rate_at(now_s + 7.7), pace.CURRENT.rate_at(now_s + 7.8))
"""


def test_a_worker_that_is_told_late_ends_with_the_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TOLD_LATE], cwd=ROOT / "loadtests", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["50.0", "0.0"]


TIMES = st.lists(st.floats(min_value=1e-5, max_value=100.0), min_size=1, max_size=200)


@settings(deadline=None)
@given(TIMES, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_sketch_tells_a_quantile_within_its_accuracy(times: list[float], q: float) -> None:
    sketch = Sketch()
    for time_s in times:
        sketch.add(time_s)
    exact = float(np.quantile(times, q, method="lower"))
    found = sketch.quantile(q)
    assert found is not None
    assert abs(found - exact) <= ACCURACY * exact * 1.001 + 1e-12
    assert sketch.maximum == max(times)


@settings(deadline=None)
@given(TIMES, TIMES)
def test_merged_sketches_are_the_sketch_of_everything(first: list[float], second: list[float]) -> None:
    whole, one, other = Sketch(), Sketch(), Sketch()
    for times, part in ((first, one), (second, other)):
        for time_s in times:
            part.add(time_s)
            whole.add(time_s)
    merged = Sketch.decode(json.loads(json.dumps(one.encode())))
    merged.merge(other)
    assert (merged.buckets, merged.count, merged.maximum) == (whole.buckets, whole.count, whole.maximum)


def test_times_over_a_limit_are_counted() -> None:
    sketch = Sketch()
    for ms in (10, 40, 49, 52, 60, 500):
        sketch.add(ms / 1000)
    assert sketch.over(0.05) == 3


def test_levels_end_at_what_was_asked_for_and_the_spike_is_in_the_middle() -> None:
    assert {"capacity", "replay"} | set(LEVELS) == set(SHAPES)
    for name, level in LEVELS.items():
        assert level(1.0) == pytest.approx(1.0), name
    assert LEVELS["ramp"](0.25) == pytest.approx(0.25)
    assert [LEVELS["steps"](share) for share in (0.0, 0.3, 0.99)] == pytest.approx([0.2, 0.4, 1.0])
    assert (LEVELS["spike"](0.5), LEVELS["spike"](0.4)) == (SPIKE, 1.0)


@given(st.floats(min_value=11.0, max_value=15_000.0), st.floats(min_value=1.0, max_value=19_000.0))
def test_the_search_closes_in_on_the_limit(limit: float, start: float) -> None:
    search = Search(start)
    for _ in range(60):
        if search.over:
            break
        search.learn(search.rate <= limit)
    assert search.over
    assert search.held is not None
    assert search.failed is not None
    assert search.held <= limit < search.failed <= PRECISION * search.held
    assert search.estimate == pytest.approx(limit, rel=PRECISION - 1)


def test_a_service_that_holds_no_rate_has_a_capacity_of_nothing() -> None:
    search = Search(50.0)
    tried = []
    while not search.over:
        tried.append(search.rate)
        search.learn(False)
    assert tried[-1] == LEAST_PER_S
    assert search.estimate == 0.0
    assert LEAST_PER_S == LEAST_OF_A_RESULT


def test_a_capacity_is_estimated_over_its_rounds_and_below_six_has_no_interval() -> None:
    found = capacity_of([400.0, 410.0, 420.0, 390.0, 405.0, 415.0])
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_low < found.rate_per_s < found.ci_high
    assert found.rate_per_s == pytest.approx(407, rel=0.01)
    few = capacity_of([400.0, 410.0])
    assert (few.ci_low, few.ci_high) == (None, None)
    assert "needs at least 6 rounds, had 2" in few.method
    none = capacity_of([0.0] * 6)
    assert (none.rate_per_s, none.ci_low, none.ci_high) == (0.0, 0.0, LEAST_PER_S)


OURS = '{"time":1700000000.5,"method":"GET","path":"/api/v1/cards?page=1"}\n'
WRITE = '{"time":1700000001.25,"method":"PUT","path":"/api/v1/cards/x","body":"{}","type":"application/json"}\n'
COMBINED = '10.0.0.1 - - [24/Nov/2026:10:00:0{} +0000] "{} /api/v1/cards HTTP/1.1" 200 512 "-" "curl/8"\n'


def test_our_access_log_is_read_with_its_own_times_and_bodies(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(WRITE + OURS)
    entries, left_out = read_log(str(path))
    assert [(entry.at_s, entry.method, entry.body) for entry in entries] == [(0.0, "GET", None), (0.75, "PUT", "{}")]
    assert left_out == 0


def test_combined_log_format_is_spread_over_its_seconds_without_its_writes(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(COMBINED.format(1, "GET") * 4 + COMBINED.format(2, "POST") + COMBINED.format(3, "GET"))
    entries, left_out = read_log(str(path))
    assert [entry.at_s for entry in entries] == [0.0, 0.25, 0.5, 0.75, 2.0]
    assert left_out == 1


@pytest.mark.parametrize("line", ["what?", '{"time": "x"}', '{"time":1,"method":"GET","path":"cards"}', "[] GET /"])
def test_a_log_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "access.log"
    path.write_text(OURS + "\n" + line + "\n")
    with pytest.raises(LogError, match=r"access.log line 3 can be read neither"):
        read_log(str(path))
    path.write_text("\n")
    with pytest.raises(LogError, match="holds no request"):
        read_log(str(path))


_WATCHED = """
import json, service_watch
told = {"pool_acquired": 10.0, "pool_wait_s": 1.0, "statements": 10.0}
more = {"pool_acquired": 20.0, "pool_wait_s": 3.0, "statements": 30.0}
print(json.dumps(service_watch.rates([{"at": 1.0}, told | {"at": 2.0}, more | {"at": 3.0}, {"at": 4.0}])))
"""


def test_a_second_in_which_the_service_told_nothing_is_left_out_and_no_result_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED], cwd=ROOT / "loadtests", capture_output=True, text=True, check=True
    )
    silent, whole, again = json.loads(done.stdout)
    assert "pool_wait_ms" not in silent
    assert "pool_wait_ms" not in again
    assert (whole["pool_wait_ms"], whole["statements_per_s"]) == (200.0, 20.0)
