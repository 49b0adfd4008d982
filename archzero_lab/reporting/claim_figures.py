"""The picture of all claims: gains beside what was claimed, values beside their limits, checks with their trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from archzero_lab.reporting.figures import COLOURS, Picture, picture

_MARK = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}
_WIDE_IN, _NARROW_IN = 8.0, 4.4
_Claim = dict[str, Any]


def whole_picture(claims: Sequence[_Claim]) -> str:
    """HTML of all claims in one figure, for a wide screen and for a narrow one, of which the page shows one."""
    wide, narrow = all_claims(claims), all_claims(claims, narrow=True)
    return wide._repr_html_().replace("<figure ", '<figure class="wide" ', 1) + narrow._repr_html_().replace(
        "<figure ", '<figure class="narrow" ', 1
    )


def all_claims(claims: Sequence[_Claim], *, narrow: bool = False) -> Picture:
    """Every claim, in three parts, in the order in which they are given. In a narrow one names stand over rows."""
    gains = [
        one for one in claims if one["claimed"]["improvement"] is not None and one["measured"]["ci_low"] is not None
    ]
    checks = [one for one in claims if one["unit"] == "failures"]
    limits = [one for one in claims if _limit_of(one) is not None]
    shown = {one["id"] for part in (gains, checks, limits) for one in part}
    checks += [one for one in claims if one["id"] not in shown]
    parts: list[tuple[Any, list[_Claim]]] = [
        (draw, part) for draw, part in ((_gains, gains), (_limits, limits), (_checks, checks)) if part
    ]
    if not parts:
        figure, _ = plt.subplots(figsize=(_WIDE_IN, 1))
        return picture(figure, "no claim measured")
    row_in = 0.5 if narrow else 0.34
    heights = [row_in * len(part) + 0.8 if draw is not _checks else 0.26 * -(-len(part) // _columns(narrow)) + 0.2
               for draw, part in parts]  # fmt: skip
    figure, every = plt.subplots(
        len(parts), 1, figsize=(_NARROW_IN if narrow else _WIDE_IN, sum(heights)), layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    said = []
    for (draw, part), axes in zip(parts, every[:, 0], strict=True):
        if draw is _checks:
            said += _checks(axes, part, _columns(narrow))
            continue
        said += draw(axes, part[::-1])[::-1]
        _name_rows(axes, [one["title"] for one in part[::-1]], narrow=narrow)
    return picture(figure, "Claims and what was measured: " + "; ".join(said))


def _columns(narrow: bool) -> int:
    return 1 if narrow else 2


def _name_rows(axes: Any, names: list[str], *, narrow: bool) -> None:
    axes.set_ylim(-0.6, len(names) - (0.2 if narrow else 0.4))
    axes.set_yticks(range(len(names)), [""] * len(names) if narrow else names)
    for row, name in enumerate(names) if narrow else ():
        axes.text(0.0, row + 0.2, name, transform=axes.get_yaxis_transform(), va="bottom", fontsize=10, weight="bold")


def _gains(axes: Any, claims: list[_Claim]) -> list[str]:
    said = []
    for row, claim in enumerate(claims):
        measured = claim["measured"]
        low, high, value = (measured[name] * 100 for name in ("ci_low", "ci_high", "improvement"))
        _interval(axes, row, low, high, value)
        claimed = claim["claimed"]["improvement"] * 100
        axes.plot([claimed], [row], "|", color="#111111", markersize=15, markeredgewidth=2, label="claimed")
        said.append(f"{claim['title']} {value:.1f} % of claimed {claimed:g} %")
    axes.axvline(0, color="#666666", linewidth=0.8)
    axes.set(xlabel="gain, % (dot: measured, band: interval, bar: claimed)")
    return said


def _limits(axes: Any, claims: list[_Claim]) -> list[str]:
    said = []
    for row, claim in enumerate(claims):
        low, high = _limit_of(claim) or (0.0, 1.0)
        measured = claim["measured"]
        scale = 100 / (low if math.isinf(high) else high)
        left, right = low * scale, 200.0 if math.isinf(high) else high * scale
        axes.barh(row, right - left, 0.34, left, color="#999999", alpha=0.25, label="claimed")
        ends = [measured[name] if measured[name] is not None else measured["after"]
                for name in ("after_ci_low", "after_ci_high")]  # fmt: skip
        _interval(axes, row, *(min(end * scale, 200.0) for end in (*ends, measured["after"])))
        share = measured["after"] * scale
        said.append(f"{claim['title']} {share:.0f} % of its limit")
    axes.set_xlim(0, 200 if any(_beyond(claim) for claim in claims) else 125)
    axes.set(xlabel="% of the claimed limit (grey: as claimed)")
    return said


def _checks(axes: Any, claims: list[_Claim], columns: int) -> list[str]:
    said = []
    lines = -(-len(claims) // columns)
    for number, claim in enumerate(claims):
        measured = claim["measured"]
        seen = "not measured"
        if measured["samples"] and claim["unit"] != "failures":
            seen = "no interval"
        elif measured["samples"]:
            seen = f"{measured['after']:.0f} of {measured['samples']:,} failed"
        column, line = divmod(number, lines)
        text = f"{_MARK[claim['verdict']]} {claim['title']}: {seen}"
        axes.text(column * 0.56 - (0.25 if columns > 1 else 0), -line, text, va="center", fontsize=10)
        said.append(f"{claim['title']}: {seen}")
    axes.set(xlim=(0, 1), ylim=(0.6 - lines, 0.6))
    axes.set_axis_off()
    return said


def _interval(axes: Any, row: int, low: float, high: float, value: float) -> None:
    colour = COLOURS["treatment"]
    axes.plot(
        [low, high], [row, row], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt", label="95 % interval"
    )
    axes.plot([value], [row], "o", color=colour, label="measured")


def _limit_of(claim: _Claim) -> tuple[float, float] | None:
    """The lowest and the highest value as claimed; infinite where there is none. None of another kind of claim."""
    after = claim["claimed"]["after"]
    if claim["unit"] == "failures" or not isinstance(after, list | tuple) or not claim["measured"]["blocks"]:
        return None
    low, high = after
    least = claim.get("rule") == "at_least"
    if claim["measured"]["after"] is None or not (low if least else high):
        return None  # a limit of nothing has no scale
    if least:
        return float(low), math.inf
    return (0.0 if claim.get("rule") == "at_most" else float(low)), float(high)


def _beyond(claim: _Claim) -> bool:
    _, high = _limit_of(claim) or (0.0, 1.0)
    return math.isinf(high) or claim["measured"]["after"] > 1.25 * high
