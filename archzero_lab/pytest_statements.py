"""A pytest fixture for anybody's psycopg code: `pytest_plugins = ["archzero_lab.pytest_statements"]` in a conftest.py.

def test_listing_asks_once(statement_log):
    list_orders(connection, limit=100)
    assert len(statement_log) == 1, statement_log.repeated()
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archzero_lab.postgres.statement_log import StatementLog, record_statements


@pytest.fixture
def statement_log() -> Iterator[StatementLog]:
    """Every statement that the test sends by psycopg."""
    with record_statements() as log:
        yield log
