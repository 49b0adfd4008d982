"""CSV as Excel and others write it is read whole, and what would lose rows or values is refused with its line."""

from __future__ import annotations

import csv
import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.inventory import parse_rows
from archzero_lab.systems.arczero.cards.model import CardRow
from archzero_lab.systems.arczero.cards.readings import read_text

HEADER = "name,type,lifecyclePhase,description"


def _names(text: str) -> list[str]:
    return [row.name for row in parse_rows(text, CardRow, is_csv=True, where="x.csv")]


@pytest.mark.parametrize(
    "text",
    [
        "name,type\na,Risk\nb,Risk\n",
        "\ufeffname,type\na,Risk\nb,Risk\n",
        "name;type\na;Risk\nb;Risk\n",
        "name\ttype\na\tRisk\nb\tRisk\n",
        "sep=;\r\nname;type\r\na;Risk\r\nb;Risk\r\n",
        " Name , TYPE \na,Risk\nb,Risk\n",
        "name,type,quality score\na,Risk,50.0\nb,Risk,\n",
        "name,type\na,Risk\n,\n\nb,Risk\n,,\n".replace(",,\n", ",\n"),
    ],
)
def test_what_spreadsheets_write_is_read(text: str) -> None:
    assert _names(text) == ["a", "b"]


def test_a_number_with_a_point_and_no_fraction_is_a_whole_one() -> None:
    rows = list(parse_rows("name,type,qualityScore\na,Risk,50.0\n", CardRow, is_csv=True, where="x.csv"))
    assert rows[0].quality_score == 50


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f'{HEADER}\na,Risk,Active,"open\nb,Risk,Active,x\nc,Risk,Active,y\n',
            "line 2: .*a quote is opened and not closed",
        ),
        (f'{HEADER}\na,Risk,Active,ok\nb,Risk,Active,"open\nc,Risk,Active,"y"\n', "line 3: .*quote"),
        ("name,type,name\na,Risk,b\n", "line 1: column name is there twice"),
        ("name,type,colour\na,Risk,red\n", "line 1: unknown column 'colour'; known: name, type, id"),
        ("name,type,tags\na,Risk,[oops\n", "line 2: field tags: neither JSON nor names"),
        ("name,type\na,Gadget\n", "line 2: field type: Invalid enum value 'Gadget'; known: BusinessCapability"),
        ("name,type\na,Risk,more\n", "line 2: .*more columns than the header"),
        (HEADER + '\na,Risk,Active,"' + "x\n" * 300 + '"\n', "line 2: a cell goes on for more than 200 lines"),
        (f'{HEADER}\na,Risk,,"open\nb,Risk,,5"\nc,Risk,,x\n', r"line 2: .*a row by itself \('b,Risk,,5'\)"),
        ('name,type\na,Risk\n"b" b,Risk\n', "line 3: .*a quote is closed and the cell goes on"),
        ("name,type,qualityScore\na,Risk,high\n", "line 2: field qualityScore: must be a whole number from 0 to 100"),
        ("name,type,createdAt\na,Risk,29.11.2026\n", "line 2: field createdAt: must be a time such as"),
        ("name,type\n\0,Risk\n", "line 2: field name: must be a text without the character U\\+0000"),
    ],
)
def test_what_would_lose_rows_or_values_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InventoryError, match=f"x.csv {told}"):
        _names(text)


def test_a_cell_of_several_lines_of_prose_is_one_cell() -> None:
    text = (
        f'{HEADER}\na,Risk,Active,"one, two, three\nfour, five, six, seven\nRisk, Active, and more"\nb,Risk,Active,y\n'
    )
    assert _names(text) == ["a", "b"]


def test_reading_changes_no_setting_of_the_process() -> None:
    before = csv.field_size_limit()
    reader = threading.Thread(target=_names, args=("name,type\na,Risk\n",))
    reader.start()
    reader.join()
    assert csv.field_size_limit() == before


def test_null_for_an_optional_field_is_left_out() -> None:
    text = '\ufeff{"name": "a", "type": "Risk", "description": null, "tags": null}\n'
    rows = list(parse_rows(text, CardRow, is_csv=False, where="x.jsonl"))
    assert (rows[0].description, rows[0].tags) == ("", [])
    with pytest.raises(InventoryError, match="field name"):
        list(parse_rows('{"name": null, "type": "Risk"}\n', CardRow, is_csv=False, where="x.jsonl"))


_CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=60)
_CELLS = _CELLS.map(read_text).filter(bool)


@given(st.lists(_CELLS, min_size=1, max_size=8, unique=True), st.sampled_from(",;\t"))
def test_whatever_a_writer_of_csv_quotes_comes_back(names: list[str], separator: str) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator)
    writer.writerow(["type", "name"])
    writer.writerows(["Risk", name] for name in names)
    assert _names(written.getvalue()) == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("," * 2_000_000, "line 1: field .whole line.: a row has 1,048,576 characters at most"),
        ("," * 1_000_000, "line 1: field .whole line.: 1,000,001 columns; a row has 1,000 at most"),
        ("name,type\n" + "," * 5_000 + "\n", "line 2: field .whole line.: 5,001 columns"),
        ('name,type\n"' + ("x" * 100_000 + '","') * 20, "line 2: field .whole line.: a row has 1,048,576 characters"),
        ('name,type\n"' + "\n" * 300, "line 2: a cell goes on for more than 200 lines"),
    ],
    ids=["a line of commas", "a header of blanks", "a row of blanks", "a row too long", "a cell that is not closed"],
)
def test_what_no_row_can_be_is_refused_where_it_is_seen(text: str, told: str) -> None:
    with pytest.raises(InventoryError, match=told):
        list(parse_rows(text, CardRow, is_csv=True, where="x.csv"))
