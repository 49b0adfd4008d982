"""People who do one thing only: locust -f loadtests/single_actions.py --host URL OpensCards EditsCards"""

from __future__ import annotations

import portfolio_users  # not the class by name: Locust would spawn it beside these
from actions import ACTIONS
from portfolio_users import task_of


class _OneAction(portfolio_users.PortfolioUser):
    abstract = True


class OpensCards(_OneAction):
    """The detail of a card after the other."""

    tasks = [task_of("open card", ACTIONS["open card"])]  # noqa: RUF012


class BrowsesLists(_OneAction):
    """Pages of the list, and of filtered ones."""

    tasks = [task_of(name, ACTIONS[name]) for name in ("browse list", "filter list")]  # noqa: RUF012


class SearchesByTyping(_OneAction):
    """Words as they are typed."""

    tasks = [task_of("search by typing", ACTIONS["search by typing"])]  # noqa: RUF012


class WalksTheGraph(_OneAction):
    """What lies around a card."""

    tasks = [task_of(name, ACTIONS[name]) for name in ("walk graph", "read relationships")]  # noqa: RUF012


class EditsCards(_OneAction):
    """A change after the other."""

    tasks = [task_of("edit card", ACTIONS["edit card"])]  # noqa: RUF012


class ImportsBatches(_OneAction):
    """New cards, a few at a time."""

    tasks = [task_of("import batch", ACTIONS["import batch"])]  # noqa: RUF012
