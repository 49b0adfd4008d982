"""Folders and files that root makes for a server of another user: modes are set, never inherited, links never followed.

Root writes only into folders of its own; what the server's user owns is given to it by descriptor, not by name.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def open_to_all(folder: Path) -> Path:
    """A folder of ours that every user may pass through, whatever the umask; mended where it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return folder


def given_folder(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    """A folder that only `owner` (None: this user) may enter; made, or what is there. Raises OSError for a link."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o700)
        if owner is not None:
            os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
    finally:
        os.close(descriptor)
    return folder


def write_private(path: Path, text: str, owner: pwd.struct_passwd | None) -> None:
    """A new file (in place of an older one) that only `owner` (None: this user) may read. Its folder must be ours."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        if owner is not None:
            os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
        file.write(text)


def readable_by_all(folder: Path) -> None:
    """Let every user read a tree of ours, and run what its owner may run; links are left as they are."""
    for place in (folder, *folder.rglob("*")):
        if not place.is_symlink():
            mode = place.stat().st_mode
            place.chmod(mode | 0o444 | (0o111 if place.is_dir() or mode & 0o100 else 0))
