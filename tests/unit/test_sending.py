"""A run for somebody else: one page with all in it, an archive that comes back as the run, and what is no archive."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from archzero_lab.errors import LabError
from archzero_lab.run_folders.finding import find_run
from archzero_lab.run_folders.run import Run
from archzero_lab.run_folders.sending import one_page, pack, unpack
from archzero_lab.settings import REPORTS

INDEX = '<title>x</title><h1>It held</h1><a href="02_plans.html">plans</a> <a href="samples.parquet">raw</a>'
NOTEBOOK = '<title>Notebook</title><h1 id="p">Plans: which<a class="anchor-link" href="#p">¶</a></h1><script>1</script>'


@pytest.fixture
def run() -> Run:
    made = Run.new("sent")
    made.summary = {"run_id": made.path.name, "claims": []}
    made.write_page(INDEX)
    made.write_page(NOTEBOOK, "02_plans.html")
    (made.path / ".hidden").write_text("x")
    (made.path / "link").symlink_to("/etc/passwd")
    return made


def test_one_page_holds_every_page_by_its_title_and_asks_for_nothing(run: Run) -> None:
    page = one_page(run)
    assert '<a href="#index">The answer</a><a href="#02_plans">Plans</a>' in page
    assert page.count("srcdoc=") == 2
    assert "parent.location.hash=&#x27;02_plans&#x27;" in page
    assert "href=&quot;samples.parquet" not in page
    assert "src=&quot;http" not in page
    assert "<script>" not in page  # each page's own are inside of its frame


def test_a_run_without_a_page_says_how_it_gets_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="has no page: lab show"):
        one_page(Run(tmp_path))


def test_an_archive_comes_back_as_the_run_elsewhere(run: Run, tmp_path: Path) -> None:
    archive = pack(run, tmp_path / "x.run.tar.gz")
    with tarfile.open(archive) as packed:
        assert {name.split("/")[1] for name in packed.getnames()} == {"summary.json", "index.html", "02_plans.html"}
    moved = run.path.rename(run.path.with_name("moved"))
    back = find_run(str(archive))
    assert back.path == REPORTS.resolve() / run.path.name
    assert (back.path / "index.html").read_text() == (moved / "index.html").read_text()
    assert find_run(str(archive)).path == back.path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../up/summary.json", tarfile.REGTYPE), ("/abs/summary.json", tarfile.REGTYPE), ("run/../x", tarfile.REGTYPE),
        ("run/summary.json", tarfile.SYMTYPE), ("run/summary.json", tarfile.LNKTYPE), ("summary.json", tarfile.REGTYPE),
        ("../summary.json", tarfile.REGTYPE), ("run/fifo", tarfile.FIFOTYPE),
    ],
)  # fmt: skip
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    path = tmp_path / "evil.run.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO(b""))
    before = sorted(REPORTS.rglob("*")) if REPORTS.exists() else []
    with pytest.raises(LabError, match="is no archive of lab send --data"):
        unpack(path)
    assert (sorted(REPORTS.rglob("*")) if REPORTS.exists() else []) == before


def test_what_is_no_archive_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.run.tar.gz"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(LabError, match="give an archive of lab send --data"):
        unpack(path)
    with pytest.raises(LabError, match="give an archive of lab send --data"):
        find_run(str(tmp_path / "none.run.tar.gz"))
