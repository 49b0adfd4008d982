"""What a partial index saves is measured beside the same index over every row, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from archzero_lab.postgres.insights import index_sizes
from archzero_lab.postgres.partial_indexes import partial_indexes


def test_a_partial_index_is_smaller_by_the_rows_that_it_leaves_out(make_database: Callable[[str], str]) -> None:
    url = make_database("partial")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE cards SET status = 'archived' WHERE quality_score < 60")
        connection.execute("CREATE INDEX \"Half\" ON cards (id) WHERE (status = 'active'::text)")
        connection.execute("CREATE INDEX idx_all ON cards (owner_id, id) WHERE version > 0")
        connection.execute("CREATE INDEX idx_whole ON cards (id)")
        before = index_sizes(connection)
        found = {index.name: index for index in partial_indexes(url)}
        assert index_sizes(connection) == before
        row = connection.execute("SELECT count(*) FROM cards WHERE status <> 'active'").fetchone()
    assert set(found) == {"Half", "idx_all"}
    assert row is not None
    assert found["Half"].rows_left_out == row[0] > 500
    assert 0.4 < found["Half"].bytes / found["Half"].whole_bytes < 0.9
    assert found["idx_all"].rows_left_out == 0
    assert found["idx_all"].bytes == found["idx_all"].whole_bytes
