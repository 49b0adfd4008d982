"""Stops shared servers when the last command that used them was killed: python -m … STATE GROUP.

It sleeps in the kernel until nobody holds them, and takes no time from what is measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

from archzero_lab.servers.process import ProcessRegistry
from archzero_lab.servers.shared_servers import end_unused, is_used, transition, wait_until_unused


def keep(state: Path, group: str) -> None:
    """Wait until no command uses the group's servers, and stop them, this process with them."""
    while True:
        wait_until_unused(state, group)
        with transition(state):
            if not is_used(state, group):
                end_unused(state, ProcessRegistry(state / "run"))
                return


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2])
