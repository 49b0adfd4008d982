"""SQL that looks cards through some weeks at a time, the newest first, where an index finds too many to sort them all.

A GIN index has no order: the newest twenty of ten thousand cards with a tag were found by fetching all ten thousand.
With the week beside the tags it gives those of some weeks: of one first, then of two, of four, until a page is filled.
"""

from __future__ import annotations

from typing import Any, LiteralString

from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.cards.search import after_cursor, where

_LOOKED_AT = 600
"""Newest cards that are looked through before any week: of what is common they fill a page."""
AT_A_TIME = 256
"""Weeks that are asked for at once, at most."""
# hours, since a day may have 23 or 25; one at a time where there may be none before
_WEEKS: LiteralString = (
    "ARRAY(SELECT (card_week(w.newest))[1] - i * interval '168 hours' FROM generate_series(0,"
    " CASE WHEN w.newest < timestamptz '0001-01-01 00:00:00+00 BC' THEN 0 ELSE w.n - 1 END) i)"
)
_LAST: LiteralString = "p.weeks[cardinality(p.weeks)]"


def weeks(name: LiteralString, question: CardFilter) -> LiteralString:
    """A recursive CTE of weeks that cards were made in, the newest (or the cursor's) first, twice as many each time.

    It is read as far as is asked for. Its parameters are those of `after_cursor`, and `at_a_time`.
    """
    until, _ = after_cursor("", question)
    newest: LiteralString = "(SELECT c.created_at FROM cards c" + until + " ORDER BY c.created_at DESC LIMIT 1)"
    older: LiteralString = (
        "(SELECT c.created_at FROM cards c WHERE c.created_at < " + _LAST + " ORDER BY c.created_at DESC LIMIT 1)"
    )
    return (
        name + " (weeks, n) AS (SELECT " + _WEEKS + ", w.n FROM (SELECT " + newest + " AS newest, 1 AS n) w"
        " UNION ALL SELECT " + _WEEKS + ", w.n FROM (SELECT " + older + " AS newest, least(2 * p.n, %(at_a_time)s) AS n"
        " FROM " + name + " p WHERE " + _LAST + " IS NOT NULL) w)"
    )  # fmt: skip


def found_in(these: LiteralString, condition: LiteralString, most: LiteralString) -> LiteralString:
    """A query for id and created_at of the newest `most` cards, in the weeks that `these` (a CTE) has in turn.

    `condition` is a WHERE clause on cards c. The join is lateral, so weeks are met in their order, and none is looked
    into once there are enough.
    """
    return (
        "SELECT s.id, s.created_at FROM " + these + " w CROSS JOIN LATERAL (SELECT c.id, c.created_at FROM cards c"
        + condition + " AND card_week(c.created_at) && w.weeks ORDER BY c.created_at DESC, c.id DESC LIMIT " + most
        + ") s LIMIT " + most
    )  # fmt: skip


def newest_of(name: LiteralString, question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """CTEs of which the last, `name`, holds id and created_at of the newest %(most)s cards with the tags or attributes.

    Returns their text and its parameters but for `most`.
    """
    condition, params = where(question)
    condition, after = after_cursor(condition, question)
    everything, _ = after_cursor("", question)
    params |= after | {"newest": _LOOKED_AT, "at_a_time": AT_A_TIME}
    few: LiteralString = "(SELECT count(*) < %(most)s FROM " + name + "_near)"
    return (
        weeks(name + "_weeks", question)
        + ", " + name + "_near AS MATERIALIZED (SELECT c.id, c.created_at FROM (SELECT * FROM cards c" + everything
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(newest)s) c" + condition + " LIMIT %(most)s), "
        + name + " AS MATERIALIZED (SELECT * FROM " + name + "_near WHERE NOT " + few
        + " UNION ALL SELECT * FROM (" + found_in(name + "_weeks", condition, "%(most)s") + ") f WHERE " + few + ")"
    ), params  # fmt: skip
