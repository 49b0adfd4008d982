"""What a figure shows as numbers: a file to download, a hint on each point, what each place of its axes means."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from archzero_lab.reporting.tables import in_three_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_ROWS, _MOST_HINTS = 3_000, 300
"""Of a figure, and of one series in it: a page of many figures stays small."""
_POINT = re.compile(r"<use\b([^>]*?)/>")
_PATH = re.compile(r'<path d="([^"]+)"')
_CORNER = re.compile(r"[ML] (-?[\d.]+) (-?[\d.]+)")

Points = Sequence[tuple[float, float]]
Row = tuple[str, str, float | str, float | str]
"""What the vertical axis is, the series' name, the place on the horizontal axis, on the vertical one."""


def as_csv(figure: Figure) -> str:
    """Every series of a figure: `axis,series,x,y`. Empty where it shows none, or more than a page should carry."""
    rows = [row for axes in figure.axes for name, points in _series(axes) for row in _rows(axes, name, points)]
    if not rows or len(rows) > _MOST_ROWS:
        return ""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("axis", "series", "x", "y"), *rows])
    return text.getvalue()


def download_link(numbers: str, name: str) -> str:
    """A link that saves the numbers, from the page itself."""
    slug = re.sub(r"\W+", "-", name.lower()).strip("-")[:60] or "figure"
    return (
        f'<a download="{slug}.csv" href="data:text/csv;charset=utf-8,{urllib.parse.quote(numbers)}">numbers (CSV)</a>'
    )


def mark_points(figure: Figure) -> dict[str, list[str]]:
    """Give each series of points an id that its SVG has too; what each point says, by that id."""
    hints: dict[str, list[str]] = {}
    for axes in figure.axes:
        for artist, name, points in _drawn(axes):
            if len(points) <= _MOST_HINTS:
                mark = f"points-{len(hints)}"
                artist.set_gid(mark)
                hints[mark] = [_hint(axes, row) for row in _rows(axes, name, points)]
    return hints


def with_hints(svg: str, hints: dict[str, list[str]]) -> str:
    """The SVG with a title on each point of the series that were marked, and without the marks."""
    for mark, texts in hints.items():
        begin = svg.find(f'<g id="{mark}">')
        if begin < 0:
            continue
        end = _end_of_group(svg, begin)
        inside = svg[begin:end].replace(f'<g id="{mark}">', "<g>", 1)
        if len(_POINT.findall(inside)) == len(texts):  # else some lie outside of the figure, and none can be told apart
            inside = _titled(inside, iter(texts))
        svg = svg[:begin] + inside + svg[end:]
    return svg


def mark_axes(figure: Figure) -> list[dict[str, Any]]:
    """Give the field of each axes an id that its SVG has too; in the same order what its scales say."""
    scales = []
    for number, axes in enumerate(figure.axes):
        axes.patch.set_gid(f"scales-{number}")
        scales.append({"x": _scale(axes.xaxis, axes.get_xlim()), "y": _scale(axes.yaxis, axes.get_ylim())})
    return scales


def places_of(svg: str, scales: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The SVG without those ids, and as JSON where each of the axes lies in it (left, top, right, bottom) beside its
    scales; those of which nothing can be said are left out."""
    axes = []
    for number, scale in enumerate(scales):
        mark = f'<g id="scales-{number}">'
        _, marked, rest = svg.partition(mark)
        drawn = _PATH.search(rest[: rest.find("</g>")]) if marked else None
        svg = svg.replace(mark, "<g>", 1)
        if drawn is None or not (scale["x"] or scale["y"]):
            continue
        corners = [(float(x), float(y)) for x, y in _CORNER.findall(drawn[1])]
        (left, right), (top, bottom) = ((min(ends), max(ends)) for ends in zip(*corners, strict=True))
        axes.append({"box": [left, top, right, bottom], **scale})
    return svg, json.dumps(axes)


def _scale(axis: Any, limits: tuple[float, float]) -> list[Any] | None:
    """Its ends, whether it is logarithmic, its label; None for names, and for scales that are neither."""
    if axis.get_scale() not in ("linear", "log") or not axis.get_label_text() or _names_of_ticks(axis):
        return None
    return [float(limits[0]), float(limits[1]), axis.get_scale() == "log", axis.get_label_text()]


def _titled(group: str, texts: Iterator[str]) -> str:
    return _POINT.sub(lambda use: f"<use{use[1]}><title>{html.escape(next(texts))}</title></use>", group)


def _end_of_group(svg: str, begin: int) -> int:
    depth = 0
    for tag in re.finditer(r"<g\b|</g>", svg[begin:]):
        depth += 1 if tag[0] != "</g>" else -1
        if depth == 0:
            return begin + tag.end()
    return len(svg)


def _series(axes: Axes) -> Iterator[tuple[str, Points]]:
    """Lines, points and bars; a line across the whole axes is none."""
    for line in axes.get_lines():
        if line.get_transform() is axes.transData:
            yield _name(line), _of_line(line)
    for cloud in _clouds(axes):
        yield _name(cloud), _of_cloud(cloud)
    for bars in axes.containers:
        boxes: list[Any] = [one for one in getattr(bars, "patches", ()) if hasattr(one, "get_width")]
        flat = getattr(bars, "orientation", "vertical") == "horizontal"
        along, up = (1.0, 0.5) if flat else (0.5, 1.0)
        ends = [(one.get_x() + one.get_width() * along, one.get_y() + one.get_height() * up) for one in boxes]
        if ends:
            yield _name(bars), ends


def _drawn(axes: Axes) -> Iterator[tuple[Any, str, Points]]:
    """The series that are drawn as points, with what draws them."""
    for line in axes.get_lines():
        if line.get_marker() not in ("", "None", " ", None) and line.get_transform() is axes.transData:
            yield line, _name(line), _of_line(line)
    for cloud in _clouds(axes):
        yield cloud, _name(cloud), _of_cloud(cloud)


def _clouds(axes: Axes) -> list[Any]:
    scattered = [one for one in axes.collections if hasattr(one, "get_sizes")]
    return [one for one in scattered if one.get_offset_transform() is axes.transData]


def _of_line(line: Any) -> Points:
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def _of_cloud(cloud: Any) -> Points:
    return [(float(x), float(y)) for x, y in cloud.get_offsets()]


def _name(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _rows(axes: Axes, name: str, points: Points) -> list[Row]:
    places, heights = _names_of_ticks(axes.xaxis), _names_of_ticks(axes.yaxis)
    what = axes.get_ylabel() or axes.get_xlabel()
    return [(what, name, _shown_value(x, places), _shown_value(y, heights)) for x, y in points]


def _names_of_ticks(axis: Any) -> dict[float, str]:
    """Of an axis of names: where each stands."""
    if type(axis.get_major_locator()).__name__ != "FixedLocator":
        return {}
    names = [label.get_text() for label in axis.get_ticklabels()]
    return dict(zip([float(place) for place in axis.get_majorticklocs()], names, strict=False)) if any(names) else {}


def _shown_value(value: float, names: dict[float, str]) -> float | str:
    """A value as it is; on an axis of names the nearest name."""
    return names[min(names, key=lambda place: abs(place - float(value)))] if names else float(value)


def _hint(axes: Axes, row: Row) -> str:
    _, name, x, y = row
    said = [name] if name else []
    for label, value in ((axes.get_xlabel(), x), (axes.get_ylabel(), y)):
        said.append(value if isinstance(value, str) else f"{label}: {in_three_digits(value)}")
    return "\n".join(said)
