"""People who do one thing only: locust -f loadtests/single_actions.py --host URL OpensCards EditsCards"""

from __future__ import annotations

from actions import ACTIONS
from portfolio_users import Person, task_of


class OpensCards(Person):
    """The detail of a card after the other."""

    tasks = [task_of("open card", ACTIONS["open card"])]  # noqa: RUF012


class BrowsesLists(Person):
    """Pages of the list, and of filtered ones."""

    tasks = [task_of(name, ACTIONS[name]) for name in ("browse list", "filter list")]  # noqa: RUF012


class SearchesByTyping(Person):
    """Words as they are typed."""

    tasks = [task_of("search by typing", ACTIONS["search by typing"])]  # noqa: RUF012


class WalksTheGraph(Person):
    """What lies around a card."""

    tasks = [task_of(name, ACTIONS[name]) for name in ("walk graph", "read relationships")]  # noqa: RUF012


class EditsCards(Person):
    """A change after the other."""

    tasks = [task_of("edit card", ACTIONS["edit card"])]  # noqa: RUF012


class ImportsBatches(Person):
    """New cards, a few at a time."""

    tasks = [task_of("import batch", ACTIONS["import batch"])]  # noqa: RUF012
