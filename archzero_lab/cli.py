"""The app: every command by name, and how errors are shown: one line and exit code 2."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from archzero_lab.commands import checks, databases, indexes, load, notebooks, report, runs, service, stack, work
from archzero_lab.errors import LabError, mask_secrets
from archzero_lab.extras import extra_of, how_to_install
from archzero_lab.postgres.shell_variables import take_shell_variables
from archzero_lab.settings import COMMAND

app = typer.Typer(
    help="archzero-lab: phase 5's claims as experiments, on a cached card service you can run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # usage errors as plain lines
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"archzero-lab {importlib.metadata.version('archzero-lab')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    global _debug
    _debug = debug


# help lists them in this order
app.command()(report.report)
app.command("test", context_settings={"ignore_unknown_options": True})(checks.run_tests)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(stack.serve)
app.command()(notebooks.notebook)
app.command()(notebooks.new)
app.command()(load.load)
app.command()(indexes.indexes)
app.command()(service.init)
app.command()(service.check)
app.command()(report.judge)
app.command()(report.show)
app.command()(runs.send)
app.command()(runs.compare)
app.command()(runs.gate)
app.command()(work.work)
app.command()(runs.history)
app.command()(runs.sweep)
app.command("verify-consistency")(checks.verify)
app.command("self-check")(checks.self_check)
app.add_typer(databases.migrate_app, name="migrate")
app.command()(databases.analyze)


def main() -> None:
    """Run a command; turn what a person can mend into one line and exit code 2."""
    # a terminated lab must stop its servers as an interrupted one does
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    take_shell_variables(os.environ)
    with _told_errors():
        app(prog_name=COMMAND)


def _interrupt(number: int, _frame: Any) -> None:
    raise KeyboardInterrupt(f"signal {number}")


@contextmanager
def _told_errors() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("lab: stopped\n")
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(f"the disk is full ({error.filename or 'while writing'}); free some space and run again")
        _fail(f"{error.strerror or error}: {error.filename or ''}")
    except Exception as error:
        if type(error).__name__ == "DiskFull":
            _fail("PostgreSQL's disk is full; free some space and run again")
        if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name or "")):
            _fail(f"this needs the extra {extra}: {how_to_install(extra)}")
        if _debug:
            raise
        _fail(f"unexpected {type(error).__name__}: {mask_secrets(str(error))}; run with --debug to see where")


def _fail(message: str) -> None:
    if _debug:
        raise
    sys.stderr.write(f"lab: {message}\n")
    sys.exit(2)
