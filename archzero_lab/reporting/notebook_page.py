"""A notebook that ran as a page of its run: the same form, its code left out, nothing from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from nbconvert import HTMLExporter

from archzero_lab.reporting.pages import Link, plain_page
from archzero_lab.reporting.tables import tidy

_TITLE = re.compile(r"<h1[^>]*>(?P<text>.*?)</h1>", re.DOTALL)
_SIGN = re.compile(r'<a class="anchor-link"[^>]*>.*?</a>')
"""The sign by which nbconvert's headings can be linked to."""
_WRAPPERS = re.compile(r'<div class="(?:cell|jp-|inner_cell|output|text_cell|prompt)[^"]*"[^>]*>|<div tabindex[^>]*>')


def notebook_page(notebook: Any, name: str, pages: Sequence[Link] = (), run_id: str = "") -> str:
    """A notebook as one self-contained page; `name` is its file's among the `pages` of its run."""
    exporter = HTMLExporter(
        template_name="basic", embed_images=True, exclude_input=True, exclude_output_prompt=True,
        exclude_input_prompt=True,
    )  # fmt: skip
    body, _ = exporter.from_notebook_node(notebook)
    body = _SIGN.sub("", str(body))
    heading = _TITLE.search(body)
    title = html.unescape(re.sub(r"<[^>]+>", "", heading["text"])).strip() if heading else name
    if heading:
        body = body.replace(heading[0], "", 1)
    return plain_page(title, tidy(body), pages=pages, here=name, run_id=run_id)
