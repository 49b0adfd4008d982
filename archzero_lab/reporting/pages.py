"""The one form of every page: its template, a bar of what is on it, links to the other pages of its run."""

from __future__ import annotations

import html
import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any

import jinja2

Link = tuple[str, str]
"""A page of the same folder and its name."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("archzero_lab.reporting", "templates"), autoescape=True, trim_blocks=True
)
_HEADING = re.compile(r"<h2(?P<attributes>[^>]*)>(?P<text>.*?)</h2>", re.DOTALL)
_ID = re.compile(r'\bid="([^"]+)"')


def render(template: str, *, contents: Sequence[Link], pages: Sequence[Link] = (), here: str = "", **words: Any) -> str:
    """A page by its template, without anything from elsewhere; `here` is its own place among the run's pages."""
    version = importlib.metadata.version("archzero-lab")
    return _TEMPLATES.get_template(template).render(
        contents=contents, pages=list(pages), here=here, version=version, **words
    )


def plain_page(
    title: str, body: str, *, lead: str = "", pages: Sequence[Link] = (), here: str = "", run_id: str = ""
) -> str:
    """A page around HTML that is safe already; its second headings become the bar of contents. `lead` stands above."""
    body, contents = with_contents(body)
    return render(
        "base.html", title=title, body=body, lead=lead, contents=contents, pages=pages, here=here, run_id=run_id
    )


def with_contents(body: str) -> tuple[str, list[Link]]:
    """HTML with an id for each second heading, and those with their texts."""
    contents: list[Link] = []

    def named(match: re.Match[str]) -> str:
        text = html.unescape(re.sub(r"<[^>]+>", "", match["text"])).strip()
        given = _ID.search(match["attributes"])
        name = given[1] if given else _unlike(_slug(text), [one for one, _ in contents])
        contents.append((name, text))
        return match[0] if given else f'<h2 id="{name}"{match["attributes"]}>{match["text"]}</h2>'

    return _HEADING.sub(named, body), contents


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "part"


def _unlike(name: str, taken: Sequence[str]) -> str:
    number = 2
    unlike = name
    while unlike in taken:
        unlike, number = f"{name}-{number}", number + 1
    return unlike
