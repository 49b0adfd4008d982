"""Parameters as drivers write them (?, :name, %s, %(name)s) made PostgreSQL's own $1, $2, …; texts stay as they are."""

from __future__ import annotations

import re

from pglast import parse_sql, parser

_APART = re.compile(
    r"""(?P<skip>'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/
        | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$).*?(?P=dollar) | ::)
      | (?P<format>%\((?P<format_name>\w+)\)s | %s\b)
      | (?P<colon>(?<![\w:\])]):(?P<colon_name>[A-Za-z_]\w*))
      | (?P<mark>(?<![?|&@\w])\?(?![?|&]))""",
    re.VERBOSE | re.DOTALL,
)
_OPERAND_BEFORE = re.compile(r"[\w\"')\]]\s*$")
_KEYWORD_BEFORE = re.compile(
    r"\b(?:select|where|and|or|not|in|between|like|ilike|similar|limit|offset|values|set|then|else|when|by|returning|to|"
    r"from|interval|first|next|any|all|on|having|is|distinct)\s*$",
    re.IGNORECASE,
)
_TYPED = re.compile(r"\b(interval|date|time|timestamp|timestamptz|timetz|point|inet|uuid)\s+(\$\d+)", re.IGNORECASE)


def numbered(text: str) -> tuple[str, dict[str, int]]:
    """The text with $1, $2, … and the numbers of the names that it had; unchanged where it has such already.

    pg_stat_statements writes `interval $3`, which is no SQL: that becomes a cast.
    """
    names: dict[str, int] = {}
    count = 0

    def number(name: str | None) -> str:
        nonlocal count
        if name is not None and name in names:
            return f"${names[name]}"
        count += 1
        if name is not None:
            names[name] = count
        return f"${count}"

    def replaced(match: re.Match[str]) -> str:
        if match["skip"]:
            return match[0]
        if match["mark"] and _is_operator(text, match.start()):
            return match[0]
        return number(match["format_name"] or match["colon_name"])

    cast = _TYPED.sub(r"\2::\1", text)
    if _parses(cast) and "%s" not in text and "%(" not in text:
        return cast, {}
    return _APART.sub(replaced, text).replace("%%", "%"), names


def _parses(text: str) -> bool:
    try:
        parse_sql(text)
    except parser.ParseError:
        return False
    return True


def _is_operator(text: str, at: int) -> bool:
    """Whether a ? stands between two operands, as jsonb's does."""
    before = text[:at]
    return bool(_OPERAND_BEFORE.search(before)) and not _KEYWORD_BEFORE.search(before)
