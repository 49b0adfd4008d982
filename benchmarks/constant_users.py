"""A Locust file for load_generator.py: our users and arrivals, asking a server that gives one constant answer."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "loadtests"))
import load  # its options and listeners; the classes below are the ones to run
from actions import Call
from arrivals import OpenArrivals
from portfolio_users import Person, send
from shapes import Constant

__all__ = ["Constant"]
_CALL = Call("constant", "/", ('{"data":"',))


def ask(user: Person) -> None:
    """One request."""
    send(user, _CALL)


class Asks(Person):
    """A closed user."""

    tasks = [ask]  # noqa: RUF012  # Locust's way


class Arrives(OpenArrivals):
    """Open arrivals."""

    def _next(self) -> Call:
        return _CALL


OpenArrivals.abstract = True  # not to be spawned beside these
assert load.result
