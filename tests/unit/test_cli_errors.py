"""What a command says when the machine fails it: one line, exit code 2, no secret."""

from __future__ import annotations

import errno

import psycopg
import pytest

from archzero_lab.cli import _errors_in_a_line
from archzero_lab.errors import LabError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LabError("no such thing; do that"), "lab: no such thing; do that"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.parquet"),
            "lab: the disk is full (x.parquet); free some space",
        ),
        (psycopg.errors.DiskFull("could not extend file"), "lab: PostgreSQL's disk is full; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "reports"), "lab: Permission denied: reports"),
        (RuntimeError("at redis://:s3cret@h/0"), "lab: unexpected RuntimeError: at redis://:***@h/0; run with --debug"),
    ],
)
def test_an_error_is_a_line_and_exit_code_2(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_, _errors_in_a_line():
        raise error
    assert exit_.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(told)
    assert printed.count("\n") == 1


def test_an_interrupt_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_, _errors_in_a_line():
        raise KeyboardInterrupt
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "lab: stopped\n"
