"""`import archzero_lab as lab` on a real stack: SQL, plans, arms of one's own, magics; errors in one line."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import archzero_lab as lab
from archzero_lab.errors import DatabaseError, MeasurementError, UnknownNameError
from archzero_lab.jupyter import arms, stack
from archzero_lab.settings import ROOT

pytestmark = pytest.mark.once

QUERY = "SELECT count(*) FROM cards WHERE type = %(type)s"


@pytest.fixture(scope="module", autouse=True)
def databases(make_database: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Two databases in place of those that ./lab up keeps."""
    urls = {"control": make_database("notebook_control"), "treatment": make_database("notebook_treatment")}
    with pytest.MonkeyPatch.context() as patch:
        for module in (stack, arms):
            patch.setattr(module, "database_of", lambda arm: urls[stack._DATABASES[arm]])
        yield urls


def test_sql_gives_a_frame_and_reads_only() -> None:
    frame = lab.sql("SELECT type::text AS kind, count(*) AS cards FROM cards GROUP BY 1 ORDER BY 2 DESC")
    assert list(frame.columns) == ["kind", "cards"]
    assert frame["cards"].sum() == 2_000
    assert len(lab.cards(7)) == 7
    with pytest.raises(DatabaseError, match="read-only transaction"):
        lab.sql("DELETE FROM cards")


@pytest.mark.parametrize(
    ("text", "params", "told"),
    [
        ("SELEC 1", None, r'PostgreSQL: syntax error at or near "SELEC".*; correct the statement'),
        ("SELECT * FROM nowhere", None, 'relation "nowhere" does not exist'),
        (QUERY, {}, "query parameter missing: type"),
        (QUERY, None, "correct the statement"),
    ],
)
def test_a_statement_that_cannot_be_run_is_told_in_a_line(text: str, params: Any, told: str) -> None:
    for ask in (lab.sql, lab.explain):
        with pytest.raises(DatabaseError, match=told) as caught:
            ask(text, params)
        assert "\n" not in str(caught.value)


def test_plans_of_two_ways_are_compared() -> None:
    before = lab.explain(QUERY, {"type": "Risk"}, arm="control", name="count")
    after = lab.explain("SELECT 1 FROM cards LIMIT 1", arm="treatment", name="one")
    found = lab.plan_diff(before, after)
    assert "on cards" in before._repr_html_()
    assert "blocks" in found.diff.whole
    assert found.lines


def test_two_ways_of_writing_a_query_make_an_experiment() -> None:
    found = lab.experiment(
        lab.Statement("SELECT count(*) FROM cards a JOIN cards b ON a.type = b.type"),
        lab.Statement("SELECT count(*) FROM cards", settings={"work_mem": "8MB"}),
        blocks=6, calls=10,
    )  # fmt: skip
    assert found.verdict == "improved"
    assert found.effect_size < 0.5
    assert found.mechanism.loc["treatment", "work_mem"] == "8MB"
    assert found.mechanism.loc["control", "blocks"] > 0


def test_statements_of_an_experiment_may_not_write_and_unknown_settings_are_told() -> None:
    with pytest.raises(DatabaseError, match="read-only transaction"):
        lab.experiment("SELECT 1", "DELETE FROM cards")
    with pytest.raises(DatabaseError, match="unrecognized configuration parameter"):
        lab.experiment("SELECT 1", lab.Statement("SELECT 1", settings={"no_such_thing": "1"}))
    with pytest.raises(UnknownNameError, match="unknown metric 'b'"):
        lab.experiment("SELECT 1", "SELECT 1", metric="b")


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20  # one write an answer: two would wait for each other 40 ms (delayed acknowledgement)

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(0.05)  # what the experiment has to find
        body = b"x" * 10
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_password_in_a_url_is_not_shown() -> None:
    arm = arms.own_arm("control", lab.Requests("http://me:s3cret@127.0.0.1:1", ["/"]))
    assert "s3cret" not in str(arm.described)


def test_two_services_that_are_not_ours_are_compared_by_their_urls() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        found = lab.experiment(lab.Requests(url, ["/slow"]), lab.Requests(url, ["/a", "/b"]), blocks=6, calls=20)
        assert found.verdict == "improved"
        assert found.effect_size < 0.5
        assert found.blocks.loc[found.blocks["arm"] == "control", "ms"].min() >= 50
        assert found.mechanism.loc["treatment", "asked"].count("/") >= 2
        with pytest.raises(MeasurementError, match=r"treatment failed in block 1 of 6: GET .*/missing answered 404"):
            lab.experiment(lab.Requests(url, ["/a"]), lab.Requests(url, ["/missing"]), blocks=6).wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


MAGICS = """
from IPython.testing.globalipapp import start_ipython
from archzero_lab.jupyter import arms, stack
urls = {urls!r}
for module in (stack, arms):
    module.database_of = lambda arm: urls[stack._DATABASES[arm]]
from archzero_lab.jupyter import magics
magics.explain.__globals__["database_of"] = stack.database_of
shell = start_ipython()
shell.run_line_magic("load_ext", "archzero_lab")
def cell(text):
    done = shell.run_cell(text)
    print("FAILED" if not done.success else repr(done.result))
cell("%%explain --arm control --name before\\nSELECT count(*) FROM cards;")
cell("%%explain --name after\\nSELECT 1")
cell("%plan_diff before after")
cell("%plan_diff before nothing")
cell("%%explain\\nSELEC 1")
cell("%%measure one\\nSELECT count(*) FROM cards a JOIN cards b ON a.type = b.type")
cell("%%measure two --against one --blocks 6\\nSELECT 1")
cell("_.wait().verdict.value")
cell("%%measure py --python\\nsum(range(1000))")
cell("%%measure py2 --python --against py --blocks 6 --metric mean\\nsum(range(100000))")
cell("_.verdict")
cell("%%measure\\nSELECT 1")
cell("1 + 1")
"""


def test_magics_explain_diff_and_measure_and_an_error_is_one_line(databases: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAGICS.format(urls=databases)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "before: " in out
    assert "blocks" in out
    assert "unknown plan 'nothing'; known: before, after" in out
    assert 'syntax error at or near "SELEC"' in out
    assert "'improved'" in out
    assert "'regressed'" in out
    assert "%%measure: the following arguments are required: name" in out
    assert "Traceback" not in out + done.stderr
    assert out.strip().endswith("2")
    assert out.count("FAILED") == 3


def test_without_a_stack_and_a_way_to_start_it_a_line_says_why(tmp_path: Path) -> None:
    code = "import archzero_lab as lab\nlab.sql('SELECT 1')"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "ARCHZERO_STATE": str(tmp_path / "s"),
             "ARCHZERO_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"},
    )  # fmt: skip
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(told) == 1, told
    assert told[0].startswith("DatabaseError: cannot connect to postgresql://me:***@127.0.0.1:1/x")
