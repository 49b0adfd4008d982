"""SQL for lists and searches on index set v2: totals that are read or capped, search by the words of the cards.

A page's rows, order and cursor are those of cards.search. Only `total` may be a lower bound; `totalRelation` says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from archzero_lab.systems.arczero.cards.by_week import AT_A_TIME, found_in, newest_of, weeks
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.cards.search import (
    LISTED_COLUMNS,
    NEXT_CURSOR,
    after_cursor,
    like_pattern,
    page_statement,
    where,
)

COUNTED = 101
"""A total that must be counted is counted so far at most."""
_LOOKED_AT = 500
"""Newest cards among which those of some quality are counted."""
_ENOUGH = 1_001
"""Cards that are found among the newest by a search, at most."""
_LOOKED_AT_FOR_TEXT = 1_000
"""Cards looked through before the words are asked: what is common is found there at once."""
MOST_WORDS, MOST_WORDS_BESIDE = 5_000, 200
"""Where more words than these can hold a text, the cards are looked through in their order instead; a second part that
so many words can hold narrows nothing down."""
_PARTS: tuple[LiteralString, ...] = ("part_0", "part_1", "part_2")
"""Parts of a text that narrow a search down, by the name of their parameter."""
_WHITE = re.compile("[ \t\n\x0b\f\r]+")  # as card_words() splits, and no other white space
_TRIGRAM = re.compile(r"[^\W_]{3}")


def list_statement_v2(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """One statement whose one row is the whole answer, as cards.search.list_statement gives it."""
    if question.q is not None:
        return _search(question, question.q)
    page, params = page_statement(question)
    if question.owner_id is not None:
        return _capped(question, page, params)
    if question.tags or question.attributes is not None:
        return _labelled(question)
    if question.min_quality is not None:
        return _seen(question, page, params)
    condition, kinds = where(question)
    # type, phase and status alone: the columns of card_counts and card_changes too
    total: LiteralString = (
        "(SELECT coalesce(sum(n), 0)::bigint FROM (SELECT c.cards AS n FROM card_counts c" + condition
        + " UNION ALL SELECT c.added FROM card_changes c" + condition + ") counted)"
    )  # fmt: skip
    return _answer("", page, total, "'eq'"), params | kinds | _paging(question)


def _capped(question: CardFilter, page: LiteralString, params: dict[str, Any]) -> tuple[LiteralString, dict[str, Any]]:
    """By owner: count what its index finds, up to COUNTED."""
    condition, more = where(question)
    before: LiteralString = (
        "WITH counted AS MATERIALIZED (SELECT count(*) AS n FROM"
        " (SELECT FROM cards c" + condition + " LIMIT %(counted)s) found) "
    )  # fmt: skip
    relation: LiteralString = "CASE WHEN (SELECT n FROM counted) < %(counted)s THEN 'eq' ELSE 'gte' END"
    total: LiteralString = "greatest((SELECT n FROM counted), CASE WHEN count(*) > 0 THEN %(skipped)s + count(*) END)"
    return _answer(before, page, total, relation), params | more | _paging(question) | {"counted": COUNTED}


def _labelled(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """By tags or attributes: the newest are looked for some weeks at a time, and counted up to COUNTED."""
    newest, params = newest_of("newest", question)
    ctes: LiteralString = "WITH RECURSIVE " + newest
    counted: LiteralString = "newest"
    if question.cursor is not None:  # the total is of all, not of what is left
        more, _ = newest_of("counted", replace(question, cursor=None))
        ctes, counted = ctes + ", " + more, "counted"
    paging = _paging(question)
    page: LiteralString = (
        "SELECT " + LISTED_COLUMNS + " FROM (SELECT n.id FROM newest n ORDER BY n.created_at DESC, n.id DESC"
        " LIMIT %(page_size)s OFFSET %(skipped)s) n JOIN cards c USING (id) ORDER BY c.created_at DESC, c.id DESC"
    )
    n: LiteralString = "(SELECT least(count(*), %(counted)s) FROM " + counted + ")"
    total: LiteralString = "greatest(" + n + ", CASE WHEN count(*) > 0 THEN %(skipped)s + count(*) END)"
    relation: LiteralString = "CASE WHEN " + n + " < %(counted)s THEN 'eq' ELSE 'gte' END"
    most = max(COUNTED, paging["skipped"] + paging["page_size"])
    return _answer(ctes + " ", page, total, relation), params | paging | {"counted": COUNTED, "most": most}


def _seen(question: CardFilter, page: LiteralString, params: dict[str, Any]) -> tuple[LiteralString, dict[str, Any]]:
    """By a least quality, which no index serves.

    Exact on a last page and of some hundred cards, else at least what the newest of them hold.
    """
    condition, more = where(replace(question, min_quality=None))
    before: LiteralString = (
        "WITH seen AS MATERIALIZED (SELECT count(*) AS cards, count(*) FILTER (WHERE quality_score >= %(quality)s) AS n"
        " FROM (SELECT c.quality_score FROM cards c" + condition
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(looked_at)s) newest) "
    )  # fmt: skip
    last: LiteralString = "count(*) < %(page_size)s AND (count(*) > 0 OR %(skipped)s = 0) AND %(by_number)s"
    total: LiteralString = (
        "CASE WHEN " + last + " THEN %(skipped)s + count(*)"
        " ELSE greatest((SELECT n FROM seen), CASE WHEN count(*) > 0 THEN %(skipped)s + count(*) END) END"
    )  # fmt: skip
    relation: LiteralString = (
        "CASE WHEN " + last + " OR (SELECT cards FROM seen) < %(looked_at)s THEN 'eq' ELSE 'gte' END"
    )
    bounds = {"looked_at": _LOOKED_AT, "by_number": question.cursor is None}
    return _answer(before, page, total, relation), params | more | _paging(question) | bounds


def _search(question: CardFilter, text: str) -> tuple[LiteralString, dict[str, Any]]:
    """Look through the newest cards; where those do not fill the page and are not all, find every card by its words.

    The vocabulary knows each word that can hold the text or a part of it. Cards whose words it does not know yet stand
    in card_changes. A text of several words is in few of the cards that have these words; how many, is not counted.
    """
    others = replace(question, q=None)
    everywhere, params = where(others)
    nearby, after = after_cursor(everywhere, others)
    condition, more = where(question)
    past_cursor, _ = after_cursor("", question)
    params |= after | more | _paging(question)
    params["limit"] = question.page_size
    params["by_number"] = question.cursor is None
    params["wanted"] = params["skipped"] + question.page_size
    params["enough"] = max(_ENOUGH, params["wanted"])
    there: LiteralString = "(SELECT wanted FROM far) AND "
    one_word = _WHITE.search(text) is None
    known, by_words, few, words = _by_words(text)
    params |= words
    few = "(" + few + ")"
    params["looked_at"] = _LOOKED_AT_FOR_TEXT + 25 * params["wanted"]
    walked, _ = after_cursor(condition, question)
    by_index: LiteralString
    if one_word:  # its words hold the text itself
        by_index = (
            "SELECT c.id, c.created_at FROM cards c" + (everywhere or " WHERE true") + " AND " + there + few + by_words
        )
        all_found = few
    else:  # they only say where to look: each card found is compared, some weeks at a time until the page is filled
        known += ", " + weeks("in_turn", question)
        params["at_a_time"] = AT_A_TIME
        by_index = "SELECT * FROM (" + found_in("in_turn", walked + by_words, "%(wanted)s") + ") f WHERE " + there + few
        all_found = "false"
    before: LiteralString = (
        "WITH RECURSIVE near AS MATERIALIZED (SELECT c.id, c.created_at FROM (SELECT * FROM cards c" + nearby
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(looked_at)s) c"
        " WHERE c.name ILIKE %(pattern)s OR c.description ILIKE %(pattern)s LIMIT %(enough)s"
        "), far AS MATERIALIZED (SELECT count(*) < %(wanted)s AND"
        " (SELECT count(*) FROM (SELECT FROM cards c" + nearby + " LIMIT %(looked_at)s) c) = %(looked_at)s AS wanted"
        " FROM near)" + known + ", matched AS MATERIALIZED (SELECT id, created_at FROM near"
        " WHERE NOT (SELECT wanted FROM far)"
        " UNION (" + by_index + ")"
        " UNION SELECT c.id, c.created_at FROM card_changes k JOIN cards c ON c.id = k.card_id" + condition
        + " AND " + there + few
        + " UNION (SELECT c.id, c.created_at FROM cards c" + walked + " AND " + there + "NOT " + few
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(wanted)s)) "
    )  # fmt: skip
    page: LiteralString = (
        "SELECT " + LISTED_COLUMNS + " FROM (SELECT c.id FROM matched c" + past_cursor
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s OFFSET %(skipped)s) m JOIN cards c USING (id)"
        " ORDER BY c.created_at DESC, c.id DESC"
    )  # fmt: skip
    total: LiteralString = "(SELECT count(*) FROM matched)"
    relation: LiteralString = (
        "CASE WHEN (SELECT wanted FROM far) THEN CASE WHEN " + all_found + " OR %(by_number)s"
        " AND (SELECT count(*) FROM matched) < %(wanted)s THEN 'eq' ELSE 'gte' END"
        " WHEN %(by_number)s AND (SELECT count(*) FROM near) < %(enough)s AND"
        " (SELECT count(*) FROM (SELECT FROM cards c" + everywhere + " LIMIT %(looked_at)s) c) < %(looked_at)s"
        " THEN 'eq' ELSE 'gte' END"
    )  # fmt: skip
    return _answer(before, page, total, relation), params


@dataclass(frozen=True)
class _Part:
    """A part of a text between white space; `begins`, `ends`: whether a word begins or ends with it for certain."""

    text: str
    begins: bool
    ends: bool

    @property
    def tells(self) -> tuple[bool, bool, int]:
        """By how much it narrows a search down: a long one most, a whole word more than a part as long."""
        return len(self.text) > 2, self.begins and self.ends, len(self.text)


def _parts(text: str) -> list[_Part]:
    split = _WHITE.split(text)
    parts = [_Part(part, at > 0, at < len(split) - 1) for at, part in enumerate(split) if part]
    return sorted(parts, key=lambda part: part.tells, reverse=True)[: len(_PARTS)]


def _by_words(text: str) -> tuple[LiteralString, LiteralString, LiteralString, dict[str, Any]]:
    """What finds cards by the words that can hold the most telling parts of a text.

    Returns CTEs with those words, the condition on a card, the condition that the words are few enough to look for each
    (that of numbers that end with 3 are not), and parameters.
    """
    ctes: LiteralString = ""
    sql: LiteralString = ""
    few: LiteralString = "true"
    params: dict[str, Any] = {"most": MOST_WORDS, "most_beside": MOST_WORDS_BESIDE}
    for part, name in zip(_parts(text), _PARTS, strict=False):
        params[name] = part.text
        known, more = _known_words(part, name)
        params |= more
        params[name + "_most"] = (MOST_WORDS if name == _PARTS[0] else MOST_WORDS_BESIDE) + 1
        ctes += ", " + name + " AS MATERIALIZED (SELECT " + known + " AS words)"
        if name == _PARTS[0]:
            sql = " AND card_words(c.name, c.description) && (SELECT words FROM " + name + ")"
            few = "(SELECT cardinality(words) <= %(most)s FROM " + name + ")"
        else:  # a part that too many words can hold says nothing: the first part's condition once more
            sql += (
                " AND card_words(c.name, c.description) && (SELECT CASE WHEN cardinality(words) <= %(most_beside)s"
                " THEN words ELSE (SELECT words FROM " + _PARTS[0] + ") END FROM " + name + ")"
            )  # fmt: skip
    return ctes, sql, few, params


def _known_words(part: _Part, name: LiteralString) -> tuple[LiteralString, dict[str, Any]]:
    """An expression for the array of the words that can hold a part, cut off where they are too many."""
    if part.begins and part.ends:
        return "ARRAY[lower(%(" + name + ")s)]", {}
    place: LiteralString = "strpos(v.word, lower(%(" + name + ")s)) > 0"
    if part.begins:
        place = "starts_with(v.word, lower(%(" + name + ")s))"
    elif part.ends:
        place = "right(v.word, length(lower(%(" + name + ")s))) = lower(%(" + name + ")s)"
    like: LiteralString = ""
    params = {}
    if _TRIGRAM.search(part.text):  # LIKE without a trigram would read the whole index
        params[name + "_like"] = like_pattern(part.text)
        like = " AND v.word LIKE lower(%(" + name + "_like)s)"
    return (
        "ARRAY(SELECT v.word FROM card_vocabulary v WHERE (SELECT wanted FROM far)"
        " AND string_to_array(v.word, NULL) @> string_to_array(lower(%(" + name + ")s), NULL) AND " + place + like
        + " LIMIT %(" + name + "_most)s)"
    ), params  # fmt: skip


def _answer(before: LiteralString, page: LiteralString, total: LiteralString, relation: LiteralString) -> LiteralString:
    """The statement around a page; `total` and `relation` may aggregate over its rows."""
    return (
        before + "SELECT document, md5(document) FROM (SELECT convert_to(row_to_json(answer)::text, 'UTF8') AS document"
        " FROM (SELECT coalesce(json_agg(p), '[]') AS data, " + total + " AS total, " + relation
        + ' AS "totalRelation", %(page)s::int AS page, %(page_size)s::int AS page_size,'
        " CASE WHEN count(*) = %(page_size)s THEN (array_agg(" + NEXT_CURSOR + '))[count(*)] END AS "nextCursor"'
        " FROM (" + page + ") p) answer OFFSET 0) made"
    )  # fmt: skip


def _paging(question: CardFilter) -> dict[str, Any]:
    skipped = 0 if question.cursor is not None else (question.page - 1) * question.page_size
    return {"page": question.page, "page_size": question.page_size, "skipped": skipped}
