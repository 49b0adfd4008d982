"""Values for a statement's parameters, a common, a rare and a middle one each, from statistics and rows of tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from psycopg import sql

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.parameter_uses import Use

Values = tuple[str, ...]
"""(common, rare, middle), fewer where fewer are known."""

_ROWS, _DIFFERENT = 10_000, 500
_STATISTICS = """
SELECT most_common_vals::text::text[], histogram_bounds::text::text[] FROM pg_stats
WHERE schemaname = $1 AND tablename = $2 AND attname = $3
"""
_SPANS = ((0.25, 0.75), (0.50, 0.51), (0.45, 0.55))
"""From which to which share of the rows two values enclose: a common half, a rare hundredth, a middle tenth."""
_RANGES = ("<", "<=", ">", ">=")
_BEYOND = (0.5, 0.99, 0.9)
_INTERVALS = ("30 days", "1 hour", "7 days")
_BY_TYPE = {
    "boolean": "true", "smallint": "1", "integer": "1", "bigint": "1", "numeric": "1", "real": "1",
    "double precision": "1", "text": "a", "character varying": "a", "date": "2026-01-01", "interval": "1 day",
    "timestamp without time zone": "2026-01-01", "timestamp with time zone": "2026-01-01", "json": "{}",
    "jsonb": "{}", "uuid": "00000000-0000-0000-0000-000000000000",
}  # fmt: skip


def value_by_type(kind: str) -> Values:
    """A value for a parameter that decides no rows, such as one of a select list; nothing for an unknown type."""
    return (_BY_TYPE[kind],) if kind in _BY_TYPE else ()


def values_of(connection: Connection, number: int, uses: Mapping[int, Use], kind: str) -> Values:
    """The values of one parameter, by its use, the uses of the others (a range has two ends) and its type.

    Only reads, of a table's rows some ten thousand. Raises psycopg.Error.
    """
    use = uses[number]
    if kind == "interval" and use.shape == "within":
        return _INTERVALS
    if use.operator in _RANGES:
        return _bounds(connection, use, _other_end(number, uses))
    if use.operator == "@@":
        return _of(_words(connection, use))
    if use.operator in ("@>", "<@", "&&", "?", "?|", "?&", "@?"):
        return _contained(connection, use, kind)
    if use.shape == "element":
        return _of(_seen(connection, use, f"unnest({use.expression})"))
    groups = _groups(connection, use)
    if use.operator in ("~~", "~~*", "!~~", "!~~*"):
        patterns = _patterns([group[0] for group in groups])
        return tuple(_array([pattern]) for pattern in patterns) if kind.endswith("[]") else patterns
    if use.operator in ("~", "~*", "!~", "!~*"):
        return tuple(re.escape(_word(group[0])) for group in groups)
    if use.shape == "array" or (use.shape == "within" and kind.endswith("[]")):
        return tuple(_array(group) for group in groups)
    at = use.at if use.shape == "listed" else 0
    return tuple(group[at % len(group)] for group in groups)


def _groups(connection: Connection, use: Use) -> list[list[str]]:
    """Different values, the commonest first; rare ones, the rarest first; middle ones."""
    common, bounds = _statistics(connection, use)
    if not common and not bounds:
        common = _seen(connection, use, use.expression)
        if not common:
            return []
        return [common[:9], common[::-1][:9], common[len(common) // 2 :][:9] or common[:1]]
    groups = [common[:9], common[::-1][:9]] if common else []
    if bounds:
        middle = len(bounds) // 2
        step = max(1, len(bounds) // 20)
        groups.append([*bounds[middle::step], *bounds[:middle:step]][:9])
    return groups


def _statistics(connection: Connection, use: Use) -> tuple[list[str], list[str]]:
    if use.column is None:
        return [], []
    row = connection.execute(_STATISTICS, [use.schema, use.table, use.column]).fetchone()
    return (list(row[0] or []), list(row[1] or [])) if row else ([], [])


def _seen(connection: Connection, use: Use, expression: str) -> list[str]:
    """Values that an expression has in some of the rows, the commonest first."""
    rows = connection.execute(
        f"SELECT value FROM (SELECT ({expression})::text AS value FROM {_some(use)}) AS seen"
        f" WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value LIMIT {_DIFFERENT}".encode()
    ).fetchall()
    return [str(value) for (value,) in rows]


def _some(use: Use) -> str:
    """Some rows of the use's table under its alias."""
    table = sql.Identifier(use.schema, use.table).as_string()
    return f"(SELECT * FROM {table} LIMIT {_ROWS}) AS {sql.Identifier(use.alias).as_string()}"


def _bounds(connection: Connection, use: Use, other: Use | None) -> Values:
    """Ends of ranges: two that enclose a half, a hundredth, a tenth of the rows; one that such shares lie beyond."""
    upper = use.operator in ("<", "<=")
    if other is not None:
        shares = [span[1] if upper else span[0] for span in _SPANS]
    else:
        shares = [1 - share if upper else share for share in _BEYOND]
    _, bounds = _statistics(connection, use)
    if len(bounds) > 10:
        places = [round(share * (len(bounds) - 1)) for share in shares]
        if other is not None and upper:  # neighbours at least: a range of one value is none
            places = [
                max(place, round(span[0] * (len(bounds) - 1)) + 1) for place, span in zip(places, _SPANS, strict=True)
            ]
        return tuple(bounds[place] for place in places)
    row = connection.execute(
        f"SELECT (percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY {use.expression}))::text::text[]"
        f" FROM {_some(use)}".encode(), [shares],
    ).fetchone()  # fmt: skip
    return tuple(str(value) for value in row[0]) if row and row[0] and None not in row[0] else ()


def _other_end(number: int, uses: Mapping[int, Use]) -> Use | None:
    mine = uses[number]
    for other, use in uses.items():
        same = (use.alias, use.expression) == (mine.alias, mine.expression)
        if other != number and same and use.operator in _RANGES and use.operator[0] != mine.operator[0]:
            return use
    return None


def _words(connection: Connection, use: Use) -> list[str]:
    """Lexemes of a text search's vector, the commonest first."""
    inner = f"SELECT {use.expression} FROM {_some(use)}"
    rows = connection.execute(
        "SELECT word FROM ts_stat($1) WHERE word ~ '^[[:alnum:]]+$' ORDER BY ndoc DESC, word LIMIT 500", [inner]
    ).fetchall()
    return [str(word) for (word,) in rows]


def _contained(connection: Connection, use: Use, kind: str) -> Values:
    """What a container's operator asks for: one of its parts, of the type that the parameter has."""
    (holds,) = connection.execute(
        f"SELECT pg_typeof({use.expression})::text FROM {_some(use)} LIMIT 1".encode()
    ).fetchone() or ("",)
    expression = use.expression
    if holds == "jsonb" and use.operator.startswith("?"):
        keys = _of(_seen(connection, use, f"jsonb_object_keys({_object(expression)})"))
        return tuple(_array([key]) for key in keys) if kind.endswith("[]") else keys
    if holds == "jsonb" and kind == "jsonb":
        pairs = f"(SELECT jsonb_build_object(key, value) FROM jsonb_each({_object(expression)}) ORDER BY key LIMIT 1)"
        return _of(_seen(connection, use, pairs))
    if holds.endswith("[]"):
        elements = _of(_seen(connection, use, f"unnest({expression})"))
        return tuple(_array([one]) for one in elements)
    if holds.endswith("range") and kind != holds:
        return _of(_seen(connection, use, f"lower({expression})"))
    return _of(_seen(connection, use, expression))


def _object(expression: str) -> str:
    return f"CASE jsonb_typeof({expression}) WHEN 'object' THEN {expression} ELSE '{{}}' END"


def _of(values: Sequence[str]) -> Values:
    """Common, rare and middle of values in the order of their number."""
    return (values[0], values[-1], values[len(values) // 2]) if values else ()


def _patterns(values: Sequence[str]) -> Values:
    """What somebody would search for: a word anywhere, and a text's beginning, which an index can serve."""
    if not values:
        return ()
    patterns = [f"%{_escaped(_word(value))}%" for value in values]
    return (patterns[0], f"{_escaped(values[len(values) // 2][:6])}%", *patterns[-1:])


def _word(text: str) -> str:
    """The longest word of a text."""
    words: list[str] = re.findall(r"\w{3,}", text) or [text]
    return max(words, key=len)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _array(values: Sequence[str]) -> str:
    """An array as PostgreSQL reads it."""
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"
