"""What is wrong with a page as a browser lays it out: too wide, too small, too pale, empty, broken, leaked."""

from __future__ import annotations

import html
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from archzero_lab.settings import ROOT

PICTURES = ROOT / "reports" / "pages"
"""What pages and the terminal looked like, kept after the tests; git ignores it."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
SIZES = ((1600, 1000), (1024, 768), (768, 1024), (400, 800))
_LOOKED_AT_CLOSELY = ((1600, False), (400, True))
"""By axe-core; the first is kept as a picture."""
PAPER = {"width": 718, "height": 1047}
"""A4 within margins of 10 mm, in CSS pixels."""
_IN_PRINT = """
() => {
  const wrong = [];
  for (const one of document.querySelectorAll("nav, button, figcaption"))
    if (one.checkVisibility()) wrong.push(`is of no use on paper: ${one.tagName} ${one.textContent.slice(0, 30)}`);
  for (const one of document.querySelectorAll(".table, figure"))
    if (one.checkVisibility() && getComputedStyle(one).overflowX !== "visible") wrong.push(`is cut: ${one.className}`);
  for (const one of document.querySelectorAll("h1, h2, h3, p, li"))
    if (one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
      wrong.push(`goes beyond the paper: ${one.textContent.slice(0, 30)}`);
  return wrong;
}
"""
_PROBE = """
() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth + 1)
    wrong.push(`scrolls sideways: ${document.documentElement.scrollWidth} of ${innerWidth} px`);
  const colour = text => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return {r, g, b, a};
  };
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found.a > 0.5) return found;
    }
    return colour(getComputedStyle(document.body).backgroundColor);
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement, text = node.data.trim();
    if (!text || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const px = parseFloat(style.fontSize) * scale;
    if (px < 9) seen.add(`${px.toFixed(1)} px: ${text.slice(0, 30)}`);
    const own = colour(svg ? style.fill : style.color);
    const [a, b] = [light(own), light(ground(element))].sort((one, other) => other - one);
    const contrast = (a + 0.05) / (b + 0.05), bold = parseInt(style.fontWeight) >= 700;
    if (contrast < (px >= 24 || (bold && px >= 18.66) ? 3 : 4.5) && !element.closest('g[id^="field"]'))
      seen.add(`contrast ${contrast.toFixed(1)}: ${text.slice(0, 30)}`);
    if (/<\\/?(?:b|td|div|span|strong|p|table)\\b|\\{\\{|\\[\\/?bold/.test(text))
      seen.add(`markup leaked: ${text.slice(0, 40)}`);
  }
  wrong.push(...seen);
  for (const figure of document.querySelectorAll("figure")) {
    if (!figure.checkVisibility()) continue;
    const drawn = figure.querySelector("svg")?.getBoundingClientRect();
    if (!drawn || drawn.width < 50 || drawn.height < 20 || figure.querySelectorAll("svg path").length < 3)
      wrong.push(`an empty figure: ${figure.querySelector("[role=img]")?.getAttribute("aria-label")}`);
  }
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))) wrong.push(`leads nowhere: ${link.hash}`);
  return wrong;
}
"""


def barriers(page: Page) -> list[str]:
    """What axe-core finds on an open page against WCAG 2.1 A and AA, a line a rule."""
    # what is right is neither gathered nor handed over: that takes longer than finding what is wrong
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}, {len(one['nodes'])} times: {one['nodes'][0]['html'][:80]}" for one in found]


def faults_of(page: Page, file: Path, *, picture: Path | None = None) -> list[str]:
    """What is wrong with a file's page at four sizes, by day and by night, a line each with where."""
    wrong: list[str] = []
    page.goto(file.as_uri())  # once: its layout is CSS alone, which follows
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            where = f"{file.name}, {width} px{', dark' if dark else ''}"
            wrong += [f"{where}: {fault}" for fault in page.evaluate(_PROBE)]
            if (width, dark) in _LOOKED_AT_CLOSELY:
                wrong += [f"{where}: {fault}" for fault in barriers(page)]
            if picture is not None and (width, dark) == _LOOKED_AT_CLOSELY[0]:
                page.screenshot(path=str(picture / f"{file.stem}-{width}.png"), full_page=True)
    if picture is not None:
        page.set_viewport_size(PAPER)
        page.emulate_media(media="print", color_scheme="light")
        wrong += [f"{file.name}, in print: {fault}" for fault in page.evaluate(_IN_PRINT)]
        page.emulate_media(media="screen")
    hrefs = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    files = {href.partition("#")[0] for href in hrefs if not href.startswith(("#", "data:"))}
    return wrong + [f"{file.name}: no such file: {name}" for name in files if not (file.parent / name).exists()]


def picture_of_terminal(page: Page, text: str, file: Path) -> None:
    """What a command printed, as a picture."""
    page.set_viewport_size({"width": 900, "height": 400})
    page.set_content(f"<pre style='font: 14px/1.35 DejaVu Sans Mono, monospace'>{html.escape(text)}</pre>")
    page.screenshot(path=str(file), full_page=True)
