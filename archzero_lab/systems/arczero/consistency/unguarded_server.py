"""The card service with guards against clients and silence taken out, to show that each is needed: python -m … ."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from archzero_lab.postgres import deadline
from archzero_lab.systems.arczero.cards import search

WITHOUT = "ARCHZERO_WITHOUT"
"""Names of guards, with commas between them; read here alone, which no command but verify-faults starts."""


def _nocut() -> None:
    deadline.cut = lambda connection: None


def _whole_cards() -> None:
    search.LISTED_COLUMNS = search.CARD_COLUMNS


OUT: dict[str, Callable[[], None]] = {
    "cut": _nocut,
    "large-rows": _whole_cards,
}


def create() -> Any:
    """The application factory that worker processes call."""
    for guard in os.environ[WITHOUT].split(","):
        OUT.get(guard, lambda: None)()
    from archzero_lab.systems.arczero import serve  # whoever asks for names of guards is no server

    return serve.create()


if __name__ == "__main__":
    from archzero_lab.systems.arczero import serve

    serve.main(f"{__spec__.name if __spec__ else __name__}:create")
