"""A state and reports folder of a file's own, for ./lab as a person calls it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.end_to_end.command import lab


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What ./lab is called with; whatever it keeps up is stopped at the end."""
    folder = tmp_path_factory.mktemp("lab")
    made = {**os.environ, "ARCHZERO_STATE": str(folder / "state"), "ARCHZERO_REPORTS": str(folder / "reports")}
    yield made
    lab(made, "down")
