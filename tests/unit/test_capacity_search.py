"""The first search of a capacity: a rate that goes better is tried again, since a cache fills."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from archzero_lab.settings import ROOT

_SEARCHED = """
import json, sys
import capacity
from recorder import RECORDER

shares = json.loads(sys.argv[1])

def scripted(runner, rate, target_s):
    share = shares.pop(0) if shares else 0.9
    return {"rate_per_s": rate, "slow_share": share, "held": share <= capacity.SLOW_SHARE, "reasons": [],
            "generator_in_the_way": False}

class Environment:
    runner = None

capacity._try = scripted
capacity.find(Environment, 50.0, 0.05, 1.6, fills=sys.argv[2] == "fills")
print(json.dumps([round(trial["rate_per_s"]) for trial in RECORDER.trials]))
"""


@pytest.mark.parametrize(
    ("shares", "fills", "rates"),
    [
        ([0.05, 0.02, 0.001], True, [50, 50, 50, 80]),
        ([0.05, 0.02, 0.001], False, [50, 20, 10]),
        ([0.05, 0.05], True, [50, 50, 20]),
        ([0.6, 0.3, 0.2], True, [50, 20, 20, 20]),
        ([0.3] * 9, True, [50, 50, 20, 20, 10, 10]),
    ],
    ids=["better until it holds", "a search that counts", "as before", "an overload is none", "it ends"],
)
def test_a_rate_that_failed_is_tried_again_where_that_goes_better(
    shares: list[float], fills: bool, rates: list[int]
) -> None:
    argv = [sys.executable, "-c", _SEARCHED, json.dumps(shares), "fills" if fills else "counts"]
    done = subprocess.run(argv, cwd=ROOT / "loadtests", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[: len(rates)] == rates
