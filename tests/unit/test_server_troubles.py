"""Why a server did not start: the line that says it, and what can be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.servers.postgres_server import cure_of, why_ended


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (
            "LOG:  starting PostgreSQL 18\n"
            'FATAL:  could not resize shared memory segment "/PostgreSQL.1": No space left on device\n'
            "LOG:  database system is shut down\n",
            ("could not resize shared memory", "--shm-size"),
        ),
        ("LOG:  starting\nFATAL:  data directory has wrong ownership\nLOG:  shut down\n", ("wrong ownership",)),
        ("just a word\n", ("just a word",)),
        ("", ("no message",)),
    ],
)
def test_the_line_that_says_why_is_told_with_its_cure(tmp_path: Path, log: str, told: tuple[str, ...]) -> None:
    file = tmp_path / "postgres.log"
    file.write_text(log)
    said = why_ended(file)
    assert all(part in said for part in told), said
    assert "shut down" not in said


def test_a_user_without_a_name_is_told_so() -> None:
    cure = cure_of("initdb: error: could not look up effective user ID 12345: user does not exist")
    assert [way in cure for way in ("/etc/passwd", "libnss_wrapper.so", "ARCHZERO_DATABASE_URL")] == [True] * 3
