"""What an entry depends on, by name. sql/outbox.sql names in the same way what a write changes.

An entry holds as long as nothing that it depends on has changed. A list, search or graph depends on the cards that it
shows and, so that it learns of those that it does not show yet, on what its question finds cards by.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from archzero_lab.systems.arczero.cards.model import CardFilter, CardType, Document, GraphQuery, RelationshipFilter

NAME_BYTES = 12
"""A name is a letter, which tells its sort, and eleven hexadecimal digits."""
MOST_NODES = 100
"""A graph of more cards depends on every card and every relationship instead."""
_SHORT, _LONG = 3, 5
_ASCII_FROM = str.maketrans("\u212a\u0130", "ki")
_NOT_ASCII = re.compile(r"[^\x01-\x7f]")


class _Shown(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    data: list[_Shown]


class _Graph(msgspec.Struct):
    nodes: list[_Shown]


_PAGE = msgspec.json.Decoder(_Page)
_GRAPH = msgspec.json.Decoder(_Graph)


def name_of(sort: str, what: str) -> str:
    """As cache_name() in SQL.

    >>> name_of("t", "cloud")
    't98dd2b1a4d2'
    """
    return sort + hashlib.md5(what.encode(), usedforsecurity=False).hexdigest()[: NAME_BYTES - 1]


def of_cards(question: CardFilter, document: Document) -> list[str]:
    """Of a list or search and the page that answers it.

    One thing by which cards come and go is enough, the one that the fewest changes touch: a text, tags, attributes, or
    the equality filters. A card that is there already may move in and out by each of them.
    """
    pattern = "|".join(
        "*" if value is None else str(value)
        for value in (question.type, question.lifecycle_phase, question.status, question.owner_id)
    )
    moves = [name_of("v", pattern)]
    if question.min_quality is not None:
        moves.append(name_of("q", f"{question.min_quality // 10}|{question.type or '*'}"))
    texts = _of_text(question.q) if question.q is not None else []
    tags = [name_of("t", tag) for tag in question.tags]
    keys = [name_of("a", key) for key in _keys(question.attributes)]
    found_by = texts or tags or keys or [name_of("m", pattern)]
    shown = [name_of("c", card.id) for card in _PAGE.decode(document.body).data]
    return _distinct([*found_by, *moves, *texts, *tags, *keys, *shown])


def of_relationships(question: RelationshipFilter) -> list[str]:
    """Of a list of relationships: those of its card, or all."""
    return [name_of("e", "" if question.card_id is None else str(question.card_id))]


def of_graph(query: GraphQuery, document: Document) -> list[str]:
    """Of a neighbourhood: what it shows of its cards, their relationships, and cards that become one of its types."""
    nodes = [node.id for node in _GRAPH.decode(document.body).nodes]
    if len(nodes) > MOST_NODES:
        return [name_of("l", ""), name_of("e", "")]
    types = [_moves_of_type(kind) for kind in query.card_types]
    return _distinct([*types, *(name_of(sort, node) for node in nodes for sort in "le")])


def of_graph_stats() -> list[str]:
    """Of the counts over the whole graph."""
    return [name_of("m", "*|*|*|*"), name_of("e", ""), *(_moves_of_type(kind) for kind in CardType)]


def _moves_of_type(kind: CardType) -> str:
    return name_of("v", f"{kind}|*|*|*")


def _of_text(text: str) -> list[str]:
    """All pieces of a text, for the one that an edit touches may be any; as cache_pieces() in SQL.

    A piece of five is in few texts that do not hold the whole. A short text has none of three. COMBINING DOT ABOVE is
    half of a capital that ICU takes apart: no piece can be relied upon.
    """
    folded = _NOT_ASCII.sub("?", "".join(_small(sign) for sign in text.translate(_ASCII_FROM)))
    size = _LONG if len(folded) >= _LONG else _SHORT
    if len(folded) < size or "\u0307" in text:
        return [name_of("x", "")]
    return _distinct(name_of("x", folded[at : at + size]) for at in range(len(folded) - size + 1))


def _small(sign: str) -> str:
    return sign.lower() if sign.isascii() else sign


def _keys(attributes: str | None) -> list[str]:
    decoded = msgspec.json.decode(attributes) if attributes is not None else None
    return list(decoded) if isinstance(decoded, dict) else []


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
