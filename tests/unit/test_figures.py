"""Figures of data that has nothing to show, or only a little, are figures all the same."""

from __future__ import annotations

import csv
import io
import json
import urllib.parse
import xml.etree.ElementTree as ET
from typing import Any

import pandas as pd
import pytest

from archzero_lab.reporting import course_figures, figures
from archzero_lab.reporting.claim_figures import all_claims, whole_picture


@pytest.mark.parametrize(
    "late",
    [
        {"ours": ([], 1_000)},
        {"ours": ([], 1_000), "another": ([0.0, 5.0, 900.0], 500)},
        {"another": ([2_500.0], 100)},
    ],
)
def test_staleness_with_and_without_a_stale_read(late: dict[str, tuple[list[float], int]]) -> None:
    made = course_figures.staleness(late)
    assert made.svg.startswith("<svg")
    for name, (times, reads) in late.items():
        assert f"{name} {len(times) / reads:.3%} stale" in made.alt


def test_a_time_line_without_a_failed_read() -> None:
    reads = pd.DataFrame({"t_s": [0.0, 1.0], "reader": ["cached", "uncached"], "ms": [0.5, 1.0], "status": [200, 200]})
    hits = pd.DataFrame({"t_s": [0.5], "hit_rate": [1.0]})
    made = course_figures.time_line(reads, hits, [(0.0, 1.0, None), (1.0, 2.0, "Redis dead")])
    assert made.alt.endswith("through Redis dead; 0 refused")


def test_evidence_whose_interval_is_not_there_yet() -> None:
    made = course_figures.evidence_course(
        {"e": [1.0, 2.0], "ci_low": [None, None], "ci_high": [None, None]}, 0.9, "A claim"
    )
    assert "e value 2 after 2 blocks" in made.alt


def test_a_sweep_of_one_cell() -> None:
    cells = pd.DataFrame(
        [
            {
                "size": 1_000, "database_ms": 0.0, "redis_ms": 0.0, "before_ms": 2.0, "after_ms": 1.0, "claimed": 0.9,
                "improvement": 0.5, "ci_low": 0.4, "ci_high": 0.6, "verdict": "refuted",
            }
        ]
    )  # fmt: skip
    assert "1,000 rows 2 to 1 ms" in course_figures.sweep_lines(cells, "A claim").alt
    assert course_figures.sweep_map(cells, "A claim").alt == "A claim: 1 refuted"


BLOCKS = pd.DataFrame({"control": [80.0, 90.0, 85.0], "treatment <b>": [8.0, 9.0, 7.5]})


def test_every_point_of_a_figure_says_what_it_is_and_no_name_is_markup() -> None:
    made = figures.paired_blocks(BLOCKS, "List: block by block", "p50, ms", 50)
    names = {"svg": "http://www.w3.org/2000/svg"}
    told = [one.text for one in ET.fromstring(made.svg).findall(".//svg:use/svg:title", names)]  # noqa: S314
    assert told == [
        f"{arm}\nblock: {block}\np50, ms: {figures_told}"
        for arm, values in (("control", ("80", "90", "85")), ("treatment <b>", ("8", "9", "7.5")))
        for block, figures_told in enumerate(values)
    ]
    assert "points-" not in made.svg


def test_a_figures_numbers_are_saved_as_they_are() -> None:
    made = figures.paired_blocks(BLOCKS, "List: block by block", "p50, ms", 50)
    place = made._repr_html_().partition('href="data:text/csv;charset=utf-8,')[2].partition('"')[0]
    rows = list(csv.DictReader(io.StringIO(urllib.parse.unquote(place))))
    assert [(row["series"], float(row["x"]), float(row["y"])) for row in rows] == [
        (arm, block, value) for arm, column in BLOCKS.items() for block, value in column.items()
    ]
    assert {row["axis"] for row in rows} == {"p50, ms"}


def test_what_is_claimed_and_what_is_measured_are_told_apart_in_the_numbers() -> None:
    claim = {"id": "list", "title": "List", "unit": "ms", "verdict": "confirmed",
             "claimed": {"improvement": 0.9, "after": 5},
             "measured": {"improvement": 0.95, "ci_low": 0.94, "ci_high": 0.96, "blocks": 12}}  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(all_claims([claim]).numbers)))
    assert [(row["series"], row["y"], float(row["x"])) for row in rows] == [
        ("95 % interval", "List", 94), ("95 % interval", "List", 96), ("measured", "List", 95), ("claimed", "List", 90),
    ]  # fmt: skip


def _other(name: str, **given: Any) -> dict[str, Any]:
    measured = {"blocks": 12, "samples": 40, "after": 0.0, "ci_low": None, "after_ci_low": None, "after_ci_high": None}
    return {"id": name, "title": name, "unit": "MB", "verdict": "confirmed", "rule": "at_most",
            "claimed": {"improvement": None, "after": [0, 500]}, **given,
            "measured": {**measured, **given.get("measured", {})}}  # fmt: skip


def test_every_claim_is_in_the_picture_by_its_kind() -> None:
    claims = [
        _other("memory", measured={"after": 50.0, "after_ci_low": 40.0, "after_ci_high": 60.0}),
        _other("hits", rule="at_least", unit="share", claimed={"improvement": None, "after": [0.8, 0.9]},
               measured={"after": 0.6}),
        _other("check", unit="failures", claimed={"improvement": None, "after": 0}, verdict="refuted",
               measured={"after": 2.0}),
        _other("missing", unit="failures", claimed={"improvement": None, "after": 0}, verdict="inconclusive",
               measured={"samples": 0, "blocks": 0}),
    ]  # fmt: skip
    for narrow in (False, True):
        made = all_claims(claims, narrow=narrow)
        assert made.alt == (
            "Claims and what was measured: memory 10 % of its limit; hits 75 % of its limit;"
            " check: 2 of 40 failed; missing: not measured"
        )
        assert "✗ check: 2 of 40 failed" in made.svg
    both = whole_picture(claims)
    assert both.count("<figure class=") == 2


def test_bars_are_saved_with_the_names_beside_them_and_a_figure_of_thousands_without_numbers() -> None:
    samples = pd.DataFrame({"variant": ["a", "a", "b", "b"], "arm": ["control", "treatment"] * 2,
                            "service_time_s": [0.1, 0.01, 0.2, 0.02]})  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(figures.by_variant(samples, "by variant").numbers)))
    assert {(row["series"], row["y"], round(float(row["x"]))) for row in rows} == {
        ("control", "a", 100), ("treatment", "a", 10), ("control", "b", 200), ("treatment", "b", 20),
    }  # fmt: skip
    many = pd.DataFrame({"arm": ["control"] * 4_000, "service_time_s": [0.001] * 4_000})
    assert figures.percentile_curves(many, "many").numbers == ""
    assert "figcaption" not in figures.percentile_curves(many, "many")._repr_html_()


def test_a_figure_says_where_its_axes_lie_and_what_they_measure() -> None:
    made = figures.paired_blocks(BLOCKS, "List: block by block", "p50, ms", 50)
    root = ET.fromstring(made.svg)  # noqa: S314
    (axes,) = json.loads(root.attrib["data-axes"])
    left, top, right, bottom = axes["box"]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert 0 < left < right < width
    assert 0 < top < bottom < height
    low, high, logarithmic, label = axes["y"]
    assert (logarithmic, label) == (True, "p50, ms")
    assert low < 7.5
    assert high > 90
    assert "scales-" not in made.svg


def test_axes_of_names_measure_nothing() -> None:
    root = ET.fromstring(figures.statements_by_size({"list": {1: 1, 10: 1}, "card": {1: 2, 10: 2}}).svg)  # noqa: S314
    assert all(one["x"] or one["y"] for one in json.loads(root.attrib["data-axes"]))
