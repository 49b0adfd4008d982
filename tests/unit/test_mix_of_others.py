"""A claim on a mix sends a crowd: never at a host that is not this machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.load.mix import measure_mix


def test_no_crowd_is_sent_at_an_arm_on_another_machine() -> None:
    system: Any = SimpleNamespace(addresses={"live": "https://shop.example/"})
    nothing: Any = None
    with pytest.raises(SettingsError, match=r"shop\.example is not this machine"):
        measure_mix(system, nothing, nothing, nothing, {"live": nothing}, nothing, 1, lambda share: None)
