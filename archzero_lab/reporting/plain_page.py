"""A self-contained page for figures that belong to no report."""

from __future__ import annotations

import html


def plain_page(title: str, body: str) -> str:
    """A self-contained page around HTML that is safe already."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;"
        "margin:2rem auto;padding:0 1rem;color:#111;background:#fff}@media(prefers-color-scheme:dark){body{color:#eee;"
        f"background:#111}}}}figure{{margin:1.5rem 0}}"
        "table{border-collapse:collapse;font-size:.9em}th,td{padding:.25rem .6rem;text-align:left;vertical-align:top}"
        f"tr{{border-bottom:1px solid #8885}}</style><h1>{html.escape(title)}</h1>{body}</html>"
    )
