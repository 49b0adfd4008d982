"""What watches over a kept stack: bounded logs, room on the disk, pauses that grow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from itertools import pairwise
from pathlib import Path

import pytest

from archzero_lab.bootstrap import supervisor
from archzero_lab.errors import ServerError
from archzero_lab.servers import bounded_logs
from archzero_lab.servers.disk_room import low_room, wal_size_mb
from archzero_lab.settings import Settings

Usage = namedtuple("Usage", "total used free")
GB = 2**30


def test_of_a_long_log_the_end_is_kept_and_who_writes_goes_on_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "service.log"
    monkeypatch.setattr(bounded_logs, "_logs", lambda: [log])
    writer = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfor line in sys.stdin: print('x' * 99, flush=True)"],
        stdin=subprocess.PIPE, stdout=log.open("ab"), text=True,
    )  # fmt: skip
    with writer:
        assert writer.stdin is not None
        for _ in range(100):
            writer.stdin.write("\n")
        writer.stdin.flush()
        while log.stat().st_size < 10_000:
            assert writer.poll() is None
        bounded_logs.bound_logs(20_000)
        assert log.stat().st_size == 10_000
        bounded_logs.bound_logs(5_000)
        cut = log.read_text()
        assert cut.startswith("(what was before is cut)\n" + "x" * 99 + "\n")
        assert len(cut) < 5_100
        writer.stdin.write("\n")
        writer.stdin.close()
        writer.wait()
    assert log.read_text() == cut + "x" * 99 + "\n"


def test_a_log_that_is_a_link_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, link = tmp_path / "target", tmp_path / "link.log"
    target.write_bytes(b"y" * 1_000)
    link.symlink_to(target)
    monkeypatch.setattr(bounded_logs, "_logs", lambda: [link])
    bounded_logs.bound_logs(10)
    assert target.stat().st_size == 1_000


@pytest.mark.parametrize(
    ("total_gb", "free_gb", "told"),
    [(1_000, 3, False), (1_000, 1.9, True), (10, 0.6, False), (10, 0.4, True)],
)
def test_little_room_is_said(monkeypatch: pytest.MonkeyPatch, total_gb: float, free_gb: float, told: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(int(total_gb * GB), 0, int(free_gb * GB)))
    said = low_room(Path("/data"))
    assert bool(said) is told
    assert not told or ("MB of" in said and "/data" in said)


@pytest.mark.parametrize(("free_gb", "size_mb"), [(1_000, 8_192), (8, 1_024), (0.1, 128)])
def test_the_wal_of_a_cluster_takes_an_eighth_of_the_room_at_most(
    monkeypatch: pytest.MonkeyPatch, free_gb: float, size_mb: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2_000 * GB, 0, int(free_gb * GB)))
    assert wal_size_mb(Path("/data")) == size_mb


def test_what_does_not_start_is_tried_after_growing_pauses_and_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now, tried, said = [0.0], [], []

    def fail(*_: object, **__: object) -> list[str]:
        tried.append(now[0])
        raise ServerError("No space left on device")

    monkeypatch.setattr(supervisor, "read_state", lambda: {"service": None})
    monkeypatch.setattr(supervisor, "kept_stack", lambda _: None)
    monkeypatch.setattr(supervisor, "missing_servers", lambda **_: ["postgres"])
    monkeypatch.setattr(supervisor, "restart_missing", fail)
    monkeypatch.setattr(supervisor, "STATE", tmp_path)
    monkeypatch.setattr(supervisor, "low_room", lambda _: "")
    monkeypatch.setattr(supervisor, "bound_logs", lambda: None)
    watching = supervisor.Supervisor(Settings(), said.append, clock=lambda: now[0])
    for _ in range(120):
        assert watching.look()
        now[0] += 0.5
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == [2.0, 4.0, 8.0, 16.0]
    assert said == [
        "a server is gone and does not start: No space left on device",
        "a server is gone and does not start: No space left on device",
    ]
    monkeypatch.setattr(supervisor, "restart_missing", lambda *_, **__: ["postgres"])
    now[0] += 60
    watching.look()
    assert said[-1].startswith("postgres was gone: started again in")
    monkeypatch.setattr(supervisor, "read_state", lambda: None)
    assert not watching.look()
