"""A file system of a few hundred MB that can be filled and emptied, where this user may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

from archzero_lab.servers.private_files import open_to_all
from archzero_lab.servers.server_home import server_home
from archzero_lab.settings import STATE

_SIZE_MB = 900


class SmallDisk:
    """A tmpfs of its own, gone after `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    @staticmethod
    def mounted() -> SmallDisk | None:
        """A new one; None where this user may not mount (no root, or a container without that right)."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return None
        folder = open_to_all(server_home(STATE) / f"disk-{uuid.uuid4().hex[:8]}")
        options = f"size={_SIZE_MB}m,mode=755"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if made.returncode != 0:
            folder.rmdir()
            return None
        return SmallDisk(folder)

    def fill(self) -> None:
        """Leave no room on it."""
        with suppress(OSError), self._filling.open("wb", buffering=0) as file:
            block = bytes(2**20)
            while file.write(block):
                pass

    def empty(self) -> None:
        """Give the room back."""
        self._filling.unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away, whatever is on it."""
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True)
        with suppress(OSError):
            self.folder.rmdir()
