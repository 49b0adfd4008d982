"""The environment of the lab's own children: the shell's, without what would steer the programs that they are."""

from __future__ import annotations

import os
from collections.abc import Mapping

STEERING = ("LOCUST_", "UVICORN_")
"""Beginnings of names by which these take their options; ours are on the command line."""


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of this process (or `environ`) without the options of others' runs."""
    given = os.environ if environ is None else environ
    return {name: value for name, value in given.items() if not name.startswith(STEERING)}
