"""The docs as a site that is read without a network, and the page of it that is made from docstrings."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from archzero_lab.errors import LabError
from archzero_lab.settings import CHECKOUT, COMMAND, IN_CHECKOUT
from archzero_lab.terminal import console

REFERENCE = Path("docs/reference.md")
HELP = Path("docs/help.txt")
"""Every command's --help, which ./lab shows where nothing is installed yet."""
SITE = Path("reports/docs")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXAMPLE = ("lab.", "found = lab.", "import ")
_HEAD = """# What a notebook imports

<!-- made from the docstrings by `./lab docs` -->

    import archzero_lab as lab

[notebooks.md](notebooks.md) shows it in use.
"""


def docs(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 where the page made from docstrings is older than they are.")
    ] = False,
) -> None:
    """Make the docs a site in reports/docs.

    A link that leads nowhere ends it.
    """
    if not IN_CHECKOUT:
        raise LabError("the docs are not part of the package: clone the repository, and run ./lab docs there")
    for page, text in ((REFERENCE, reference()), (HELP, help_pages(context.find_root().command))):
        if check and (CHECKOUT / page).read_text(encoding="utf-8") != text:
            console.print(f"{page} is older than the docstrings: run ./lab docs, and commit it", highlight=False)
            raise typer.Exit(1)
        (CHECKOUT / page).write_text(text, encoding="utf-8")
    build_site(CHECKOUT)
    console.print(f"{SITE}/index.html", highlight=False, markup=False)


def build_site(folder: Path) -> None:
    """By the zensical.toml of a folder. Raises LabError with each link that leads nowhere."""
    builder = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    done = subprocess.run(builder, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        said = _COLOUR.sub("", done.stderr or done.stdout).partition("Traceback")[0].strip()
        raise LabError(f"the docs could not be made:\n{said[-2000:]}")


def help_pages(top: Any) -> str:
    """What --help says of the whole and of each command, 80 columns wide, each under a line with its name."""
    return "".join(f"==== {name}\n{text.rstrip()}\n" for name, text in _helps(top, "lab", None))


def _helps(command: Any, name: str, parent: typer.Context | None) -> Iterator[tuple[str, str]]:
    context = typer.Context(
        command, parent=parent, info_name=name.split()[-1] if parent else COMMAND, terminal_width=78,
        max_content_width=78, help_option_names=["-h", "--help"],
    )  # fmt: skip
    yield name, command.get_help(context)
    for below, of in getattr(command, "commands", {}).items():
        yield from _helps(of, f"{name} {below}", context)


def reference() -> str:
    """Markdown of everything public that a notebook imports: signatures and docstrings, classes with their members."""
    import archzero_lab

    names = sorted(archzero_lab.__all__, key=lambda name: (name[0].isupper(), name))
    return "\n".join([_HEAD, *(line for name in names for line in _entry(name, getattr(archzero_lab, name)))])


def _entry(name: str, what: Any) -> Iterator[str]:
    yield f"## {name}\n"
    yield _code(f"lab.{name}{_signature(what)}")
    yield f"{_text(what)}\n"
    if inspect.isclass(what):
        for member, value in vars(what).items():
            if member.startswith("_") or not inspect.getdoc(value):
                continue
            if isinstance(value, property):
                yield f"- `{member}`: {_line(value)}"
            elif inspect.isfunction(value):
                yield f"- `{member}{_signature(value)}`: {_line(value)}"
        yield ""


class _Made:
    """A default that is made anew each time, as it reads in a signature."""

    def __repr__(self) -> str:
        return "…"


def _signature(what: Any) -> str:
    shown = []
    for one in inspect.signature(what).parameters.values():
        if one.name != "self":
            made = type(one.default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"  # of a dataclass; its address is no help
            shown.append(one.replace(annotation=one.empty, default=_Made() if made else one.default))
    return str(inspect.Signature(shown))


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _text(what: Any) -> str:
    """A docstring as Markdown: its examples as code, the rest as prose."""
    lines: list[str] = []
    for line in (inspect.getdoc(what) or "").splitlines():
        if line.startswith(_EXAMPLE):
            line = f"    {line}"
        if lines and line and lines[-1] and line.startswith("    ") != lines[-1].startswith("    "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _line(what: Any) -> str:
    return " ".join(_text(what).split())
