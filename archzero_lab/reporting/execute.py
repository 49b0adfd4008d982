"""Runs one notebook in this process: strict about shell commands, marked at its end, then made into a page.

Called by reporting.notebooks as `python -m archzero_lab.reporting.execute JOB`; the last line of stderr says why
it failed.
"""

from __future__ import annotations

import json
import secrets
import sys
import warnings
from pathlib import Path
from typing import Any

from archzero_lab.reporting.notebook_format import nbformat

_TAG = "archzero-lab"

# A failing `!command` is no error to IPython; here it is one.
_STRICT = """
def _strict(shell):
    import subprocess
    plain = shell.system
    def system(command):
        plain(command)
        code = shell.user_ns.get("_exit_code", 0)
        if code:
            raise subprocess.CalledProcessError(code, command)
    def getoutput(command, split=True, depth=0):
        from IPython.utils.text import SList
        line = shell.var_expand(command, depth=1)
        done = subprocess.run(line, shell=True, check=True, capture_output=True, text=True)
        return SList(done.stdout.splitlines()) if split else done.stdout
    shell.system, shell.getoutput = system, getoutput
_strict(get_ipython())
"""


def execute(job: dict[str, Any]) -> None:
    """Run the notebook of a job and write .ipynb and .html beside it. Raises RuntimeError where it did not end."""
    # after nbformat, which they import
    import papermill
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from archzero_lab.reporting.notebook_page import notebook_page

    source, out = Path(job["source"]), Path(job["out"])
    marker = secrets.token_hex(16)
    notebook = nbformat.read(source, as_version=4)
    notebook.cells.insert(0, _cell(_STRICT))
    notebook.cells.append(_cell(f"print({marker!r})"))
    prepared = out.with_name(f".{out.name}")
    nbformat.write(notebook, prepared)
    try:
        papermill.execute_notebook(
            str(prepared),
            str(out),
            parameters=job["parameters"],
            kernel_name="python3",
            progress_bar=False,
            autosave_cell_every=0,
            execution_timeout=job["timeout_s"],
            cwd=job["cwd"],
        )
    except (PapermillExecutionError, CellExecutionError) as error:
        said = f"{error.ename}: {error.evalue}" if error.evalue else ""
        # a magic that fails says why on stderr alone
        raise RuntimeError(said or _last_of_stderr(out) or f"a cell failed ({error.ename})") from None
    except CellTimeoutError:
        raise RuntimeError(f"a cell ran longer than {job['timeout_s']} s") from None
    except DeadKernelError:
        raise RuntimeError("its kernel died") from None
    finally:
        prepared.unlink(missing_ok=True)
    finished = nbformat.read(out, as_version=4)
    last = finished.cells[-1]
    printed = "".join(output.get("text", "") for output in last.get("outputs", []))
    finished.cells = [cell for cell in finished.cells if _TAG not in cell.metadata.get("tags", [])]
    nbformat.write(finished, out)
    if marker not in printed:
        raise RuntimeError("it did not reach its end (sys.exit, or a cell that was not run)")
    page = out.with_suffix(".html")
    pages = [(href, name) for href, name in job["pages"]]
    page.write_text(notebook_page(finished, page.name, pages, out.parent.name))


def _last_of_stderr(out: Path) -> str:
    """The last line that a cell wrote to stderr, of the notebook as far as it ran."""
    if not out.exists():
        return ""
    outputs = [one for cell in nbformat.read(out, as_version=4).cells for one in cell.get("outputs", [])]
    lines = "".join(one.get("text", "") for one in outputs if one.get("name") == "stderr").strip().splitlines()
    return lines[-1] if lines else ""


def _cell(source: str) -> Any:
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata["tags"] = [_TAG]
    return cell


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        execute(json.loads(sys.argv[1]))
    except Exception as error:  # whatever it is, the caller names the notebook and this reason
        sys.stderr.write(f"\n{error}\n")
        sys.exit(1)
