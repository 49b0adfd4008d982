"""Says in each statement of a Python program which line sent it, and for which path: a comment at its end.

Found by PYTHONPATH in programs that the lab starts; imports nothing of the lab, and then the sitecustomize that this
one stands before.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python", "<frozen", "<string>")


def _where() -> tuple[str, str]:
    """File and line of the nearest frame that is the program's own, and the path that is being answered."""
    frame: Any = sys._getframe(2)
    line, path = "", ""
    while frame is not None:
        name = frame.f_code.co_filename
        if not line and not name.startswith(_HERE) and not any(part in name for part in _LIBRARIES):
            line = f"{name}:{frame.f_lineno}"
        for variable in ("scope", "environ"):
            held = frame.f_locals.get(variable)
            if not path and isinstance(held, dict):
                path = (held.get("path") if held.get("type") == "http" else held.get("PATH_INFO")) or ""
        frame = frame.f_back
    return line, path


def _with_comment(query: Any, psycopg: Any, *, escaped: bool) -> Any:
    line, path = _where()
    tags = [f"{key}='{quote(value, safe='/:. ')}'" for key, value in (("lab_line", line), ("lab_path", path)) if value]
    if not tags:
        return query
    comment = f" /*{','.join(tags)}*/"
    if escaped:  # where there are parameters a per cent sign stands for one
        comment = comment.replace("%", "%%")
    if isinstance(query, psycopg.sql.Composable):
        return psycopg.sql.Composed([query, psycopg.sql.SQL(comment)])
    return query + comment.encode() if isinstance(query, bytes) else query + comment


def _patch(psycopg: Any) -> None:
    for kind in (psycopg.Cursor, psycopg.AsyncCursor):
        for name in ("execute", "executemany", "stream"):
            if name in vars(kind):
                setattr(kind, name, _telling(vars(kind)[name], psycopg))


def _telling(method: Callable[..., Any], psycopg: Any) -> Callable[..., Any]:
    @functools.wraps(method)
    def telling(self: Any, query: Any, params: Any = None, *rest: Any, **more: Any) -> Any:
        return method(self, _with_comment(query, psycopg, escaped=params is not None), params, *rest, **more)

    return telling


class _Finder(importlib.abc.MetaPathFinder):
    """Patches psycopg once it has been imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """The spec that there is, with a loader that patches."""
        if fullname != "psycopg":
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _patch(module)

            spec.loader.exec_module = exec_module
        return spec


def _run_the_other() -> None:
    """The sitecustomize that this one stood before."""
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _Finder())
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
    _run_the_other()
