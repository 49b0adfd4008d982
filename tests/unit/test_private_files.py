"""What root makes for a server of another user: no link is followed, no mode inherited, nothing left to a name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from archzero_lab.servers.private_files import given_folder, open_to_all, readable_by_all, write_private
from archzero_lab.servers.server_home import server_user


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """As a shell has it, and as a hardened image has it."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_modes_are_set_whatever_the_umask_and_mended_where_they_are_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    assert _mode(open_to_all(folder)) == 0o755
    folder.chmod(0o700)
    assert _mode(open_to_all(folder)) == 0o755
    assert _mode(given_folder(folder / "own", None)) == 0o700
    write_private(folder / "secret", "s3cret", None)
    assert (_mode(folder / "secret"), (folder / "secret").read_text()) == (0o600, "s3cret")
    program = folder / "bin" / "program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh")
    program.chmod(0o700)
    (folder / "bin" / "data").touch(mode=0o600)
    readable_by_all(folder / "bin")
    assert [_mode(path) for path in (program.parent, program, program.with_name("data"))] == [0o755, 0o755, 0o644]


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("root's own")
    (tmp_path / "secret").symlink_to(victim)
    write_private(tmp_path / "secret", "s3cret", None)
    assert victim.read_text() == "root's own"
    assert not (tmp_path / "secret").is_symlink()
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / "base").symlink_to(theirs)
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        given_folder(tmp_path / "base", None)
    assert _mode(theirs) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_is_given_belongs_to_the_server_s_user(tmp_path: Path) -> None:
    user = server_user()
    assert user is not None
    folder = given_folder(tmp_path / "own", user)
    write_private(tmp_path / "config", "x", user)
    assert {folder.stat().st_uid, (tmp_path / "config").stat().st_uid} == {user.pw_uid}
