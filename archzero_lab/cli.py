"""The app: every command by name, and how errors are shown: one line and exit code 2."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Annotated, Any

import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]

from archzero_lab.commands import (
    checks,
    databases,
    docs,
    failovers,
    fragility,
    indexes,
    load,
    notebooks,
    pool,
    replicas,
    report,
    runs,
    servers,
    service,
    stack,
    work,
)
from archzero_lab.commands.help import GroupedCommands, PlainCommand
from archzero_lab.errors import LabError, SettingsError, mask_secrets
from archzero_lab.extras import extra_of, how_to_install
from archzero_lab.postgres.shell_variables import take_shell_variables
from archzero_lab.settings import COMMAND

app = typer.Typer(
    cls=GroupedCommands,
    help="Measures whether a cache and indexes really pay, on our service or on yours.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # usage errors as plain lines
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False
_COMPLETE = "_LAB_COMPLETE"
"""What a shell asks for completions by."""


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"archzero-lab {importlib.metadata.version('archzero-lab')}")
        raise typer.Exit


def _print_completion(shell: str | None) -> None:
    if shell is not None:
        if shell not in ("bash", "zsh", "fish"):
            raise SettingsError(f"--completion {shell}: bash, zsh or fish")
        name = PurePath(COMMAND).name
        typer.echo(get_completion_script(prog_name=name, complete_var=_COMPLETE, shell=shell))
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
    completion: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL", help="Print completion for bash, zsh or fish.", callback=_print_completion, is_eager=True
        ),
    ] = None,
) -> None:
    """Options of every command."""
    global _debug
    _debug = debug


app.command(cls=PlainCommand)(report.report)
app.command("test", cls=PlainCommand, context_settings={"ignore_unknown_options": True})(checks.run_tests)
app.command(cls=PlainCommand)(docs.docs)
app.command(cls=PlainCommand)(stack.up)
app.command(cls=PlainCommand)(stack.down)
app.command(cls=PlainCommand)(stack.status)
app.command(cls=PlainCommand)(stack.serve)
app.command(cls=PlainCommand)(notebooks.notebook)
app.command(cls=PlainCommand)(notebooks.new)
app.command(cls=PlainCommand)(load.load)
app.command(cls=PlainCommand)(pool.pool)
app.command(cls=PlainCommand)(indexes.indexes)
app.command(cls=PlainCommand)(fragility.fragility)
app.command("compare-servers", cls=PlainCommand)(servers.compare_servers)
app.command(cls=PlainCommand)(service.init)
app.command(cls=PlainCommand)(service.check)
app.command(cls=PlainCommand)(report.judge)
app.command(cls=PlainCommand)(report.show)
app.command(cls=PlainCommand)(runs.send)
app.command(cls=PlainCommand)(runs.compare)
app.command(cls=PlainCommand)(runs.gate)
app.command(cls=PlainCommand)(work.work)
app.command(cls=PlainCommand)(runs.history)
app.command(cls=PlainCommand)(runs.sweep)
app.command("verify-consistency", cls=PlainCommand)(checks.verify)
app.command("verify-faults", cls=PlainCommand)(checks.faults)
app.command("verify-failover", cls=PlainCommand)(failovers.verify)
app.command("self-check", cls=PlainCommand)(checks.self_check)
app.add_typer(databases.migrate_app, name="migrate")
app.command(cls=PlainCommand)(databases.analyze)
app.command(cls=PlainCommand)(replicas.replicas)


def main() -> None:
    """Run a command; turn what a person can mend into one line and exit code 2."""
    # a terminated lab must stop its servers as an interrupted one does
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    take_shell_variables(os.environ)
    with _errors_in_a_line():
        completion_init()
        app(prog_name=COMMAND, complete_var=_COMPLETE)


def _interrupt(number: int, _frame: Any) -> None:
    raise KeyboardInterrupt(f"signal {number}")


@contextmanager
def _errors_in_a_line() -> Iterator[None]:
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
