"""What a draft of archzero.toml is made of: requests with samples of their values, and the text that comes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FORM = "application/x-www-form-urlencoded"
_MOST_VALUES = 200
_SECRET = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class DraftedRequest:
    """One kind of request. `guessed` are its places whose values nobody told; a body is JSON, a form or nothing."""

    name: str
    method: str
    path: str
    status: int = 200
    weight: float = 1.0
    body: Any = None
    form: dict[str, str] = field(default_factory=dict)
    guessed: list[str] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")


@dataclass
class Drafted:
    """All that a source told: requests, values by place, a path that says that the service is ready, its address."""

    requests: list[DraftedRequest]
    values: dict[str, list[Any]]
    ready: str = ""
    url: str = ""
    needs_token: bool = False


def unique_name(name: str, taken: Iterable[str]) -> str:
    """A name as TOML takes it bare, with a number where it is taken."""
    bare = re.sub(r"\W+", "_", name).strip("_").lower() or "root"
    used = set(taken)
    return next(one for one in (bare, *(f"{bare}_{number}" for number in range(2, 10_000))) if one not in used)


def name_of_path(method: str, path: str) -> str:
    """A request's name from its path: /api/v1/products/{id} is products_by_id, a POST to it post_products_by_id."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    words = [part for part in parts if not part.startswith("{") and part not in ("api", "rest") and not _version(part)]
    name = "_".join(words) or "root"
    if parts and parts[-1].startswith("{"):
        name += f"_by_{parts[-1].strip('{}')}"
    return name if method == "GET" else f"{method.lower()}_{name}"


def table_text(header: str, entries: Mapping[str, Any]) -> str:
    """A table of TOML."""
    return "\n".join([f"[{header}]", *(f"{key_text(name)} = {value_text(value)}" for name, value in entries.items())])


def value_text(value: Any) -> str:
    """A value of TOML; dictionaries are inline tables."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(value_text(one) for one in value[:_MOST_VALUES] if one is not None) + "]"
    if isinstance(value, dict):
        inside = (f"{key_text(name)} = {value_text(one)}" for name, one in value.items() if one is not None)
        return "{ " + ", ".join(inside) + " }"
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else repr(value)


def key_text(name: str) -> str:
    """A key of TOML, in quotes where it wants them."""
    return name if _BARE.fullmatch(name) else value_text(name)


def without_secrets(value: Any) -> Any:
    """A body with what its fields call a secret left to be filled in."""
    if isinstance(value, dict):
        return {
            name: "FILL IN" if _SECRET.search(str(name)) and part is not None else without_secrets(part)
            for name, part in value.items()
        }
    return [without_secrets(part) for part in value] if isinstance(value, list) else value


def commented(text: str) -> str:
    """The same as comments."""
    return "\n".join(f"# {line}" if line else "#" for line in text.splitlines())


def _version(part: str) -> bool:
    return bool(re.fullmatch(r"v\d+(\.\d+)?", part))
