"""Values from a server's log: each form in which PostgreSQL writes a statement, matched to it without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.logged_values import read_log

ASKED = "SELECT id FROM t WHERE k = $1 AND name = $2 LIMIT $3"
STDERR = """2026-11-01 10:00:00 UTC [1] LOG:  duration: 0.5 ms  statement: SELECT id FROM t WHERE k = 7 AND name = 'it''s' LIMIT 5
2026-11-01 10:00:01 UTC [1] LOG:  duration: 0.5 ms  execute <unnamed>: SELECT id
\tFROM t WHERE k = $1 AND name = $2 LIMIT $3
2026-11-01 10:00:01 UTC [1] DETAIL:  parameters: $1 = '8', $2 = NULL, $3 = '10'
2026-11-01 10:00:02 UTC [1] LOG:  checkpoint starting: time
2026-11-01 10:00:03 UTC [1] LOG:  duration: 9.1 ms  plan:
\tQuery Text: SELECT id FROM t WHERE k = $1 AND name = 'x' LIMIT $2
\tQuery Parameters: $1 = '9', $2 = '20'
\tLimit  (cost=0.00..1.00 rows=1 width=4)
\t  ->  Seq Scan on t  (cost=0.00..1.00 rows=1 width=4)
2026-11-01 10:00:04 UTC [1] LOG:  duration: 9.1 ms  plan:
\t{"Query Text": "SELECT id FROM t WHERE k = -3 AND name = 'j' LIMIT 1", "Plan": {}}
2026-11-01 10:00:05 UTC [1] ERROR:  relation "u" does not exist at character 15
2026-11-01 10:00:05 UTC [1] STATEMENT:  SELECT * FROM u
"""  # noqa: E501


def _sent(file: Path, text: str = ASKED) -> set[tuple[str | None, ...]]:
    return set(read_log(file).of(text))


def test_each_form_of_a_log_gives_the_values_that_were_sent_together(tmp_path: Path) -> None:
    log = tmp_path / "postgresql.log"
    for entry, values in (
        (STDERR.split("2026-11-01 10:00:01")[0], ("7", "it's", "5")),
        ("2026-11-01 10:00:01" + STDERR.split("2026-11-01 10:00:01", 1)[1].split("2026-11-01 10:00:02")[0],
         ("8", None, "10")),
        ("2026-11-01 10:00:03" + STDERR.split("2026-11-01 10:00:03")[1].split("2026-11-01 10:00:04")[0],
         ("9", "x", "20")),
        ("2026-11-01 10:00:04" + STDERR.split("2026-11-01 10:00:04")[1], ("-3", "j", "1")),
    ):  # fmt: skip
        log.write_text(entry)
        assert _sent(log) == {values}
    log.write_text(STDERR)
    assert len(_sent(log)) == 3, "common, rare, middle"
    assert _sent(log, "SELECT id FROM t WHERE k > $1") == set()


def test_a_csvlog_is_read_by_its_columns(tmp_path: Path) -> None:
    log = tmp_path / "postgresql.csv"
    before = ",".join(["x"] * 13)
    log.write_text(
        f"""{before},"duration: 1.0 ms  execute a: SELECT id FROM t WHERE k = $1 AND name = $2 LIMIT 3",\
"parameters: $1 = '4', $2 = 'a, $9 = b'",,\n""".replace("\\\n", "")
    )
    assert _sent(log) == {("4", "a, $9 = b", "3")}


def test_a_log_without_statements_says_how_to_log_them(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_text("2026-11-01 LOG:  database system is ready\n")
    with pytest.raises(SettingsError, match="log them by log_min_duration_statement"):
        read_log(tmp_path / "empty.log")
    with pytest.raises(SettingsError, match="No such file"):
        read_log(tmp_path / "none.log")
