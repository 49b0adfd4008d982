"""What of a system can be counted: its kinds of request, and how its own background is told from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Countable:
    """`kinds` of request in the order in which they are asked, each with whether it writes: reads come first.

    A statement without the `tag` is the service's own; one that holds a text of `background`, too, and so is a command
    of Redis. `exact_bytes` are the kinds whose answers have the same length each time. `cache` are settings under which
    the service's own timers and timeouts stay out of it.
    """

    kinds: Mapping[str, bool]
    tag: str = ""
    background: Collection[str] = ()
    exact_bytes: Collection[str] = ()
    cache: Mapping[str, Any] = field(default_factory=dict)
