"""The wheel, outside this tree: a command `lab` that has all of its files, works in the folder where it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import threading
import venv
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archzero_lab.extras import EXTRAS
from archzero_lab.settings import ROOT

TAKEN_IN = ("sql/schema.sql", "sql/migrations", "sql/analysis", "notebooks/00_start.ipynb", "loadtests/load.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def program(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lab` of a bare venv: the wheel is in it, the other libraries are read from where the tests have them."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # a line of a .pth adds one folder; what that folder's own .pth files add (this tree) is not looked at
    packages = folder / "lib" / version / "site-packages"
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = built.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps",
         "--no-index", "--disable-pip-version-check", "--target", str(packages), str(wheel)],
        check=True,
    )  # fmt: skip
    return folder / "bin" / "python"


def test_wheel_and_sdist_take_in_sql_notebooks_load_tests_and_templates(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    for name in TAKEN_IN:
        assert any(found.startswith(f"archzero_lab/resources/{name}") for found in in_wheel), name
    assert {"archzero_lab/reporting/templates/index.html", "archzero_lab/systems/arczero/claims.toml"} <= in_wheel
    assert not any(found.startswith(("tests/", "benchmarks/")) for found in in_wheel)
    with tarfile.open(sdist) as archive:
        in_sdist = {found.partition("/")[2] for found in archive.getnames()}
    for name in (*TAKEN_IN, "pyproject.toml", "README.md", "archzero_lab/cli.py"):
        assert any(found.startswith(name) for found in in_sdist), name


def test_a_report_from_the_wheel_is_made_where_it_is_called(program: Path, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARCHZERO", "PYTHON"))}
    clean["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")  # nbconvert's own templates, as its package is
    done = subprocess.run(
        [str(program), "-m", "archzero_lab", "report", "--profile", "smoke", "--cards", "1000", "--only",
         "card_detail_cached"],
        cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "reports" / "latest" / "summary.json").read_text())
    assert [claim["id"] for claim in summary["claims"]] == ["card_detail_cached"]
    assert (tmp_path / "reports" / "latest" / "01_cached_reads.html").stat().st_size > 0
    assert (tmp_path / ".lab").is_dir()
    where = subprocess.run(
        [str(program), "-c", "import archzero_lab; print(archzero_lab.__file__)"],
        cwd=tmp_path, env=clean, capture_output=True, text=True,
    )  # fmt: skip
    assert not where.stdout.startswith(str(ROOT)), "the tree was imported, not the wheel"


@pytest.fixture(scope="module")
def light(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without what the extras bring: a link to each library, but those."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    left_out = {module for modules in EXTRAS.values() for module in modules}
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        name = path.name.partition(".")[0].partition("-")[0]
        if name not in left_out and "archzero" not in path.name and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(packages)  # noqa: S202  # our own
    return folder / "bin" / "python"


_TWO_URLS = """
import archzero_lab as lab
print(lab.experiment("{url}", "{url}?x=1", blocks=6, calls=5).wait().comparison.blocks)
"""


def test_a_light_package_compares_two_urls_and_names_the_extra_of_what_it_has_not(light: Path, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARCHZERO", "PYTHON"))}
    clean["ARCHZERO_TURNS"] = str(tmp_path / "turns")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(light), *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120
        )

    code = _TWO_URLS.format(url=f"http://127.0.0.1:{server.server_address[1]}/")
    compared = run("-c", code)
    server.shutdown()
    assert compared.stdout == "6\n", compared.stderr
    assert run("-m", "archzero_lab", "--help").returncode == 0
    for arguments, extra in (
        (("report", "--profile", "smoke"), "notebook"), (("load", "--host", "http://127.0.0.1:9"), "load"),
        (("report", "--profile", "smoke", "--no-notebooks"), "servers"), (("new", "x"), "notebook"),
    ):  # fmt: skip
        done = run("-m", "archzero_lab", *arguments)
        assert done.returncode == 2, done.stdout
        assert f"pip install 'archzero-lab[{extra}]'" in done.stderr, done.stderr
