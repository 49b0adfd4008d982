"""PostgreSQL's own programs run on a database: the password travels in the environment, not in the command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from psycopg.conninfo import make_conninfo

from archzero_lab.postgres.connection import connection_parts


def run_program(command: Sequence[str], url: str, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of them with further variables, messages in English; how it ended is the caller's to judge."""
    parts = connection_parts(url)
    password = parts.pop("password", None)
    secret = {"PGPASSWORD": str(password)} if password is not None else {}
    return subprocess.run(
        [*command, f"--dbname={make_conninfo('', **parts)}"], capture_output=True, text=True, errors="replace",
        env={**os.environ, "LC_ALL": "C", **secret, **more},
    )  # fmt: skip
