"""A run for somebody else: all its pages in one file, or its data in an archive that the lab takes elsewhere."""

from __future__ import annotations

import html
import re
import shutil
import tarfile
from pathlib import Path

from archzero_lab.errors import LabError
from archzero_lab.run_folders.run import PAGE, Run
from archzero_lab.settings import REPORTS, keep_out_of_git

ARCHIVE = ".run.tar.gz"
_MOST_BYTES = 4 * 2**30
_LINK = re.compile(r'<a href="([\w.-]+)">')
_STYLE = (
    "body{margin:0;font:16px/1.5 system-ui,sans-serif;color-scheme:light dark}"
    "nav{position:sticky;top:0;padding:8px 16px;"
    "background:#f3f5f7;color:#1b1f24;border-bottom:1px solid #d5dae0}nav a{margin-right:16px;color:inherit}"
    "@media(prefers-color-scheme:dark){nav{background:#1e2327;color:#e6e9ec;border-color:#3a424a}}"
    "iframe{width:100%;height:calc(100vh - 44px);border:0;display:block}section{display:none}"
    "section:target,section.first{display:block}body:has(section:target) section.first:not(:target){display:none}"
)


def one_page(run: Run) -> str:
    """All pages of a run in one, each under its name; nothing is fetched. Raises LabError for a run without a page."""
    pages = sorted(run.path.glob("*.html"), key=lambda page: (page.name != PAGE, page.name))
    if not pages:
        raise LabError(f"run {run.path.name} has no page: lab show {run.path.name} draws them")
    names = {page.name for page in pages}
    links, sections = [], []
    for number, page in enumerate(pages):
        text = page.read_text()
        title = "The answer" if page.name == PAGE else _title(text) or page.stem
        links.append(f'<a href="#{page.stem}">{html.escape(title)}</a>')
        kind = ' class="first"' if number == 0 else ""
        shown = html.escape(_with_links(text, names), quote=True)
        sections.append(f'<section id="{page.stem}"{kind}><iframe title="{html.escape(title)}" srcdoc="{shown}">'
                        "</iframe></section>")  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(run.id)}</title><style>{_STYLE}</style><nav>{''.join(links)}</nav>{''.join(sections)}</html>"
    )


def _title(text: str) -> str:
    """A page's first heading, up to its colon, without the sign by which a notebook's can be linked to."""
    match = re.search(r"<h1[^>]*>(.*?)(?:<a class=\"anchor-link\"|</h1>)", text, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", match[1])).partition(":")[0].strip() if match else ""


def _with_links(text: str, pages: set[str]) -> str:
    """Links to other pages of the run go to their place in the one page; to its data, nowhere."""

    def link(match: re.Match[str]) -> str:
        name = match[1]
        if name in pages:
            return f'<a href="about:srcdoc" onclick="parent.location.hash=\'{Path(name).stem}\';return false">'
        return f'<a title="{name} is in the archive of lab send --data">'

    return _LINK.sub(link, text)


def pack(run: Run, out: Path) -> Path:
    """Write a run's folder as an archive; what is unfinished or a link is left out."""
    with tarfile.open(out, "w:gz") as archive:
        for path in sorted(run.path.iterdir()):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                archive.add(path, f"{run.path.name}/{path.name}", filter=_without_owner)
    return out


def unpack(path: Path) -> Path:
    """The folder of an archive's run in reports/, unpacked there if it is not yet. Raises LabError for what is none.

    Nothing but plain files of one folder is taken, whatever names and modes an archive gives them.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = archive.getmembers()
            parts = [member.name.split("/") for member in members]
            flat = all(len(part) == 2 and re.fullmatch(r"[\w.-]+", part[0] + part[1]) for part in parts)
            plain = all(member.isreg() for member in members)
            folders = {part[0] for part in parts}
            up = any(name in (".", "..") for part in parts for name in part)
            if not flat or not plain or up or len(folders) != 1:
                raise LabError(f"{path.name} is no archive of lab send --data")
            if sum(member.size for member in members) > _MOST_BYTES:
                raise LabError(f"{path.name} holds more than {_MOST_BYTES / 1e9:.0f} GB")
            keep_out_of_git(REPORTS)
            folder = REPORTS / folders.pop()
            if not folder.exists():
                _write(archive, members, folder)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise LabError(f"{path}: {error}; give an archive of lab send --data") from None
    return folder


def _write(archive: tarfile.TarFile, members: list[tarfile.TarInfo], folder: Path) -> None:
    """The contents of plain files, with modes of our own (Python before 3.11.4 extracts with those of the archive)."""
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for member in members:
        source = archive.extractfile(member)
        assert source is not None  # a plain file
        with source, (partial / member.name.rpartition("/")[2]).open("wb") as target:
            shutil.copyfileobj(source, target)
    partial.rename(folder)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
