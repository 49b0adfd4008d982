"""Room for a copy is looked for where the copy goes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from archzero_lab.errors import LabError
from archzero_lab.jobs.indexes.own_copy import require_room


def test_a_copy_that_does_not_fit_is_refused_by_the_place_that_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = tmp_path / "servers"
    free = {Path(tempfile.gettempdir()): 150, servers: 250, Path("/"): 10**12}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[Path(place)]))
    require_room(120, servers)
    with pytest.raises(LabError, match=f"under {servers}"):
        require_room(130, servers)
    free[servers] = 10**12
    with pytest.raises(LabError, match=f"under {tempfile.gettempdir()}"):
        require_room(151, servers)
