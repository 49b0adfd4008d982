"""A pytest plugin for anybody's psycopg code: `pytest_plugins = ["archzero_lab.pytest_statements"]` in a conftest.py.

def test_listing_asks_once(statement_log):
    list_orders(connection, limit=100)
    assert len(statement_log) == 1, statement_log.repeated()

@pytest.mark.work_budget(statements=2, blocks=500)
def test_listing_stays_cheap():
    list_orders(connection, limit=100)

def test_a_part_of_it(work_budget):
    with work_budget(statements=2):
        list_orders(connection, limit=100)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from archzero_lab.postgres.statement_log import StatementLog, record_statements
from archzero_lab.postgres.work_budget import WorkDone, work_budget


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    config.addinivalue_line(
        "markers", "work_budget(statements=…, blocks=…): the test may send and read no more than that by psycopg"
    )


@pytest.fixture
def statement_log() -> Iterator[StatementLog]:
    """Every statement that the test sends by psycopg."""
    with record_statements() as log:
        yield log


@pytest.fixture(name="work_budget")
def budget() -> Callable[..., AbstractContextManager[WorkDone]]:
    """work_budget(statements=…, blocks=…): a part of a test that may do no more."""
    return work_budget


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hold a test to the budget of its marker; fixtures are not counted."""
    marker = item.get_closest_marker("work_budget")
    if marker is None:
        return (yield)
    with work_budget(*marker.args, **marker.kwargs):
        return (yield)
