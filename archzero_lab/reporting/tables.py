"""Tables as people read them: numbers right and to three digits, texts whole, verdicts with sign and colour."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_TABLE = re.compile(
    r"(?:<style scoped>.*?</style>\s*)?<table[^>]*class=\"dataframe\"[^>]*>(?P<rows>.*?)</table>", re.DOTALL
)
_OTHER = re.compile(r'<table(?![^>]*class="dataframe").*?</table>', re.DOTALL)
_ROW = re.compile(r"<tr[^>]*>(?P<cells>.*?)</tr>", re.DOTALL)
_DATA = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)
_HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_NOTHING = ("", "NaN", "None", "NaT", "&lt;NA&gt;")
_YES_NO = {"True": "yes", "False": "no"}
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?$")
_RANGE = re.compile(r"\[(?P<low>-?[\d.]+), (?P<high>-?[\d.]+)\]$")
_VERDICTS = {
    "confirmed": ("confirmed", "✓"), "improved": ("confirmed", "✓"), "keep": ("confirmed", "✓"),
    "refuted": ("refuted", "✗"), "regressed": ("refuted", "✗"), "drop": ("refuted", "✗"), "too dear": ("refuted", "✗"),
    "inconclusive": ("inconclusive", "?"), "undecided": ("inconclusive", "?"),
}  # fmt: skip
ALIGNED = (
    "<style>div.table.table.table td,div.table.table.table th{text-align:left}"
    "div.table.table.table .number{text-align:right}@media screen{div.table{overflow-x:auto}}</style>"
)
"""For a notebook, which has none of our pages' style and sets every cell to the right."""
FRAMED = '<div class="table" tabindex="0">'
"""It scrolls where its table is too wide, and whoever has no mouse must come to it."""
_LONG = 40
"""Letters from which on a cell is a sentence, and gets room for one."""


def verdict_class(word: str) -> tuple[str, str]:
    """The class of a verdict's colour, and its sign; of a word with more behind it in parentheses, too."""
    bare = word.partition(" (")[0]
    known = next((name for name in _VERDICTS if bare == name or bare.startswith(f"{name}:")), "")
    return _VERDICTS.get(known, ("quiet", ""))


def in_three_digits(value: float) -> str:
    """A number as people read it: 0.0123, 12.3, 1,230."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def whole_html(frame: pd.DataFrame) -> str:
    """A frame as HTML with nothing cut short, numbers to three digits, what is missing left out."""
    import pandas as pd  # a notebook's page is made without it

    with pd.option_context("display.max_colwidth", None):
        return ALIGNED + tidy(frame.to_html(na_rep="", float_format=in_three_digits, justify="left", border=0))


def tidy(page: str) -> str:
    """HTML of pandas' with each cell as what it holds; every table in a frame that scrolls where it is too wide."""
    page = _OTHER.sub(lambda match: f"{FRAMED}{match[0]}</div>", page)
    return _TABLE.sub(lambda match: f"{FRAMED}<table>{_rows(_one_head(match['rows']))}</table></div>", page)


def _one_head(rows: str) -> str:
    """pandas writes the names of the index into a row of their own: they belong over their columns."""
    heads = [row for row in _ROW.finditer(rows) if "<td" not in row["cells"]]
    if len(heads) != 2 or "span=" in heads[0]["cells"] + heads[1]["cells"]:
        return rows
    columns, names = (_HEAD.findall(row["cells"]) for row in heads)
    if len(columns) != len(names) or any(
        one.strip() and other.strip() for one, other in zip(columns, names, strict=True)
    ):
        return rows
    merged = "".join(f"<th>{one.strip() or other}</th>" for one, other in zip(columns, names, strict=True))
    return rows.replace(heads[0][0], f"<tr>{merged}</tr>").replace(heads[1][0], "")


def _rows(rows: str) -> str:
    columns = _number_columns(rows)

    def row(match: re.Match[str]) -> str:
        if "<td" in match["cells"]:
            rest = iter(columns)
            return (
                f"<tr>{_DATA.sub(lambda cell: _cell(cell[0], cell[1].strip(), next(rest, False)), match['cells'])}</tr>"
            )
        heads = _HEAD.findall(match["cells"])
        before = len(heads) - len(columns)
        if before < 0 or "colspan" in match["cells"]:
            return f"<tr>{match['cells']}</tr>"
        right = [at >= before and columns[at - before] for at in range(len(heads))]
        kinds = [' class="number"' if numeric else "" for numeric in right]
        return f"<tr>{''.join(f'<th{kind}>{text}</th>' for text, kind in zip(heads, kinds, strict=True))}</tr>"

    return _ROW.sub(row, rows)


def _number_columns(rows: str) -> list[bool]:
    """Of each column whether all that it holds are numbers."""
    cells = [_DATA.findall(row) for row in _ROW.findall(rows) if "<td" in row]
    cells = [row for row in cells if len(row) == len(cells[0])]
    held = [[text.strip() for text in column if text.strip() not in _NOTHING] for column in zip(*cells, strict=True)]
    return [bool(column) and all(map(_NUMBER.match, column)) for column in held]


def _cell(whole: str, text: str, numeric: bool) -> str:
    if "<" in text:
        return whole
    if text in _NOTHING:
        return "<td></td>"
    if numeric:
        if "." in text or "e" in text:
            text = in_three_digits(float(text.replace(",", "")))
        return f'<td class="number">{text}</td>'
    if ends := _RANGE.match(text):
        return f"<td>{float(ends['low']):g} to {float(ends['high']):g}</td>"
    if text in _YES_NO:
        return f"<td>{_YES_NO[text]}</td>"
    word = html.unescape(text).partition(" (")[0]
    if word in _VERDICTS:
        kind, sign = _VERDICTS[word]
        return f'<td class="verdict {kind}">{sign} {text}</td>'
    return f'<td class="words">{text}</td>' if len(text) > _LONG else f"<td>{text}</td>"
