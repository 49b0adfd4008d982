"""libpq's variables of the shell: into a user's own URL what connecting needs, out of the lab's environment all."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from archzero_lab.postgres import shell_variables
from archzero_lab.postgres.connection import is_not_yet_up
from archzero_lab.postgres.shell_variables import NEEDED, STEERING, completed, given_to, take_shell_variables, unused

SHELL = {
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/a folder/ca.pem",
    "PGPASSWORD": "s3c&ret",
    "PGHOSTADDR": "10.0.0.1",
    "PGOPTIONS": "-c enable_indexscan=off",
    "PGUSER": "shell",
    "PATH": "/bin",
}


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing taken yet."""
    monkeypatch.setattr(shell_variables, "_taken", {})


def test_a_command_s_own_environment_has_none_of_them_and_a_user_s_program_gets_them_back() -> None:
    environ = dict(SHELL)
    take_shell_variables(environ)
    assert environ == {"PATH": "/bin"}
    assert unused() == ["PGHOSTADDR", "PGOPTIONS"]
    given_to(environ)
    assert environ == SHELL


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@db.example:5433/shop",
        "postgresql://me@db.example:5433/shop?application_name=x",
        "host=db user=me",
    ],
)
def test_a_user_s_url_is_completed_by_what_connecting_needs_and_says_what_it_said(url: str) -> None:
    before = conninfo_to_dict(url)
    assert completed(url) == url
    take_shell_variables(dict(SHELL))
    after = conninfo_to_dict(completed(url))
    assert after == before | {"sslmode": "verify-full", "sslrootcert": "/a folder/ca.pem", "password": "s3c&ret"}


def test_every_variable_that_libpq_knows_is_in_one_of_the_lists() -> None:
    known = {option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
    # what only names a file or a way that no server of ours asks about
    assert known - set(NEEDED) - set(STEERING) <= {
        "PGGSSDELEGATION", "PGSSLCERTMODE", "PGSSLKEYLOGFILE", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION",
        "PGSSLCOMPRESSION", "PGREPLICATION", "PGSSLPASSWORD", "PGREALM", "PGOAUTHDEBUG",
    }, known - set(NEEDED) - set(STEERING)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "later"),
    [
        ("connection failed: connection to server at … failed: Connection refused", True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("connection failed: server does not support SSL, but SSL was required", False),
        ('connection failed: FATAL:  password authentication failed for user "x"', False),
        ('definition of service "x" not found', False),
    ],
)
def test_only_a_server_that_is_not_yet_up_is_waited_for(said: str, later: bool) -> None:
    assert is_not_yet_up(psycopg.OperationalError(said)) is later


def test_every_variable_that_this_libpq_reads_is_taken() -> None:
    named = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    # read by libpq elsewhere than in its table of parameters
    named |= {"PGSERVICEFILE", "PGTZ", "PGDATESTYLE", "PGGEQO"}
    assert named - {*NEEDED, *STEERING} == set()
