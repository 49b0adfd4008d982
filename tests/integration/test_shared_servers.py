"""Commands that run at the same time in one checkout share its servers, which the last of them stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archzero_lab.servers.process import start_ticks
from archzero_lab.servers.server_home import server_home

HOLD = """
import json, sys
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings
with running_stack(load_settings(), redis="plain" not in sys.argv) as stack:
    print(json.dumps([stack.postgres_url, stack.postgres_pid, stack.redis_pid]), flush=True)
    sys.stdin.read()
"""
KEEP = """
from archzero_lab.servers.stack import keep_servers, running_stack
from archzero_lab.settings import load_settings
with running_stack(load_settings()) as stack:
    keep_servers(stack)
"""
END = "from archzero_lab.servers.stack import take_down; take_down()"


class Holder:
    """A command that has the servers until it is told to end."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip

    def told(self) -> list[Any]:
        assert self.process.stdout is not None
        answer: list[Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    state = tmp_path / "state"
    environment = {**os.environ, "ARCHZERO_STATE": str(state)}
    yield environment
    subprocess.run([sys.executable, "-c", END], env=environment, check=True)
    subprocess.run(["rm", "-rf", str(server_home(state))], check=True)


@pytest.fixture
def hold(environment: dict[str, str]) -> Iterator[Callable[..., Holder]]:
    held = []

    def start(*words: str) -> Holder:
        held.append(Holder(environment, *words))
        return held[-1]

    yield start
    for holder in held:
        if holder.process.poll() is None:
            holder.process.kill()
            holder.process.wait()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _run(environment: dict[str, str], script: str) -> None:
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_commands_started_together_have_the_same_servers_until_the_last_one_ends(
    hold: Callable[..., Holder],
) -> None:
    first, second = hold(), hold()
    told = first.told()
    assert second.told() == told
    first.end()
    assert _answers(told[0])
    second.end()
    assert not _answers(told[0])
    assert not any(start_ticks(pid) for pid in told[1:])  # a zombie has ended


def test_the_one_that_started_them_may_be_killed_and_so_may_the_last(hold: Callable[..., Holder]) -> None:
    first = hold()
    url, *pids = first.told()
    second = hold()
    assert second.told() == [url, *pids]
    first.process.kill()
    first.process.wait()
    assert _answers(url)
    second.process.send_signal(signal.SIGKILL)
    second.process.wait()
    deadline = time.monotonic() + 60
    while any(start_ticks(pid) for pid in pids):
        assert time.monotonic() < deadline, "the servers outlive everybody who used them"
        time.sleep(0.05)


def test_a_second_one_starts_what_the_first_did_without(hold: Callable[..., Holder]) -> None:
    first = hold("plain")
    url, postgres, redis = first.told()
    assert redis is None
    second = hold()
    assert second.told()[:2] == [url, postgres]
    second.end()
    assert _answers(url)
    first.end()
    assert not _answers(url)


def test_servers_in_use_stay_when_up_keeps_them(environment: dict[str, str], hold: Callable[..., Holder]) -> None:
    first = hold()
    told = first.told()
    _run(environment, KEEP)
    first.end()
    assert _answers(told[0])
    assert hold().told() == told
    _run(environment, END)
    assert not _answers(told[0])
