"""Every page has one form: a bar of what is on it, links to its run's pages, tables as people read them."""

from __future__ import annotations

import nbformat
import pandas as pd

from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import Frame, Rows
from archzero_lab.reporting.notebook_page import notebook_page
from archzero_lab.reporting.pages import plain_page, with_contents
from archzero_lab.reporting.tables import in_three_digits, tidy, whole_html


def test_second_headings_become_the_bar_of_contents_and_each_has_a_place() -> None:
    body, contents = with_contents('<h2>Card <b>list</b></h2><h2 id="given">A &amp; B</h2><h2>card list</h2>')
    assert contents == [("card-list", "Card list"), ("given", "A & B"), ("card-list-2", "card list")]
    assert [f'id="{name}"' in body for name, _ in contents] == [True, True, True]


def test_a_page_links_to_the_others_of_its_run_and_not_to_itself() -> None:
    page = plain_page("Mine", "", pages=[("index.html", "The answer"), ("mine.html", "Mine")], here="mine.html")
    assert '<a href="index.html">The answer</a>' in page
    assert '<b aria-current="page">Mine</b>' in page
    assert 'href="mine.html"' not in page
    assert "Pages of this run" not in plain_page("Alone", "", pages=[("mine.html", "Mine")])


def test_a_title_is_text_and_nothing_is_fetched_from_elsewhere() -> None:
    page = plain_page("<script>alert(1)</script>", "<p>body</p>")
    assert "<script>alert(1)</script>" not in page
    assert "http" not in page


def test_numbers_have_three_digits() -> None:
    assert [in_three_digits(value) for value in (0.012345, 12.345, 1234.5, -0.5)] == ["0.0123", "12.3", "1,230", "-0.5"]


def test_a_columns_numbers_stand_right_with_their_head_and_texts_left() -> None:
    frame = pd.DataFrame({"ms": [1.23456, None], "what": ["15.18", "a text"]}, index=["one", "two"])
    frame.index.name = "row"
    table = whole_html(frame)
    assert '<tr><th>row</th><th class="number">ms</th><th>what</th></tr>' in table
    assert '<td class="number">1.23</td>' in table
    assert "<td></td>" in table
    assert "<td>15.18</td>" in table
    # in a notebook too, whose own style sets every cell to the right
    assert "div.table.table.table td,div.table.table.table th{text-align:left}" in table
    assert "div.table.table.table .number{text-align:right}" in table


def test_a_long_text_is_whole_and_markup_in_it_stays_text() -> None:
    text = "<b>" + "why " * 60
    table = whole_html(pd.DataFrame({"why": [text]}))
    assert "&lt;b&gt;" + ("why " * 60).strip() in table
    assert "<b>" not in table


def test_verdicts_have_a_sign_and_a_colour_and_ranges_are_words() -> None:
    frame = pd.DataFrame({"verdict": ["confirmed", "drop (nothing uses it)"], "claimed": [[100.0, 500.0], 0.5]})
    table = tidy(frame.to_html())
    assert '<td class="verdict confirmed">✓ confirmed</td>' in table
    assert '<td class="verdict refuted">✗ drop (nothing uses it)</td>' in table
    assert "<td>100 to 500</td>" in table


def test_a_table_of_two_heads_keeps_every_word() -> None:
    columns = pd.MultiIndex.from_tuples([("reads", "p50"), ("reads", "p99")])
    frame = pd.DataFrame([[1, 2]], index=pd.Index(["a"], name="arm"), columns=columns)
    table = tidy(frame.to_html())
    assert [word in table for word in ("reads", "p50", "p99", "arm")] == [True] * 4


def test_a_notebooks_page_has_its_title_once_its_outputs_and_none_of_its_code() -> None:
    made = nbformat.v4.new_notebook()
    output = nbformat.v4.new_output("execute_result", {"text/html": pd.DataFrame({"ms": [1.0]}).to_html()})
    made.cells = [
        nbformat.v4.new_markdown_cell("# Cached reads: is it so?\n\nA question."),
        nbformat.v4.new_markdown_cell("## Card list"),
        nbformat.v4.new_code_cell("secret_code = 1", outputs=[output]),
    ]
    page = notebook_page(made, "01.html", [("index.html", "The answer"), ("01.html", "Cached reads")], "a-run")
    assert page.count("Cached reads: is it so?") == 2  # the window's title and the heading
    assert page.count("<h1") == 1
    assert "secret_code" not in page
    assert '<td class="number">1</td>' in page
    assert "anchor-link" not in page
    assert "a-run" in page
    assert "http" not in page


def test_what_is_black_in_a_figure_has_the_colour_of_its_text_and_it_has_no_ground() -> None:
    import matplotlib.pyplot as plt

    from archzero_lab.reporting.figures import picture

    figure, axes = plt.subplots()
    axes.plot([1, 2], color="#111111")
    drawn: Picture = picture(figure, "a line")
    assert "#111111" not in drawn.svg
    assert "#000000" not in drawn.svg
    assert "fill:currentColor" in drawn.svg
    assert "fill: #ffffff" not in drawn.svg


def test_a_frame_in_a_notebook_is_whole_and_what_is_cut_from_it_is_one_too() -> None:
    text = "why " * 60
    frame = Frame({"why": [text], "p50_ms": [1.23456]})
    shown = frame[["why", "p50_ms"]]._repr_html_()
    assert text.strip() in shown
    assert '<td class="number">1.23</td>' in shown
    assert "…" not in shown


def test_rows_of_a_database_are_shown_as_they_are() -> None:
    rows = Rows(
        {"version": ["15.10", "1.1"], "verdict": ["keep", "<b>"], "n": [1234567.89, 2.0], "range": [[1, 2], None]}
    )
    shown = rows._repr_html_()
    for cell in (
        "<td>15.10</td>",
        "<td>keep</td>",
        "<td>&lt;b&gt;</td>",
        '<td class="number">1234567.89</td>',
        "<td>[1, 2]</td>",
    ):
        assert cell in shown
    assert isinstance(rows[rows["n"] > 2], Rows)


def test_of_a_long_frame_and_a_long_text_the_length_is_shown() -> None:
    shown = Frame({"number": range(61), "text": ["x" * 1_001, *[""] * 60]})._repr_html_()
    assert "the first 60 of 61 rows" in shown
    assert ">60<" not in shown
    assert "x" * 1_000 + " … 1,001 characters in all" in shown
    assert "rows</p>" not in Frame({"number": range(60)})._repr_html_()
