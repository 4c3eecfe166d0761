"""Large raw mail beside the database: whole files, named after their blob.

A file is synced, renamed to its final name, and its folder synced, all before the row
that names it is written; so a row never points to a file that a crash has shortened.
The other way round a file without a row can be left behind: `sweep` removes those, and
temporaries that no session finished, once they are an hour old.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

TEMPORARY: Final = ".part"
FINAL: Final = ".eml"
_OLD_S: Final = 3600
"""Younger files may belong to a session that is still receiving."""


def give_to_owner_of(folder: Path, *paths: Path) -> None:
    """Let new files belong to whom their folder belongs, where root has made them.

    A command that root runs first must not lock the service out of its store.
    """
    if os.geteuid() != 0:
        return
    facts = folder.stat()
    for path in paths:
        with suppress(FileNotFoundError):
            os.chown(path, facts.st_uid, facts.st_gid, follow_symlinks=False)


def spool_beside(database: Path) -> Path:
    """Return where the large mails of a SQLite file stand, unless a setting says."""
    return Path(f"{database}.spool")


class Spool:
    """The folder of large raw mails. All methods block; call them in a thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where it is missing, for this user alone.

        Raises:
            ConfigError: The folder cannot be made or written by this user.
        """
        self.folder = folder
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                give_to_owner_of(folder.parent, folder)
                sync_folder(folder.parent)
            facts = folder.lstat()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise _config(folder, f"cannot be made ({reason})") from error
        if not stat.S_ISDIR(facts.st_mode) and not folder.is_dir():
            raise _config(folder, "is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _config(folder, "cannot be written by this user")

    def temporary(self) -> Path:
        """Return a fresh name for a mail that is still coming in."""
        return self.folder / (secrets.token_hex(16) + TEMPORARY)

    def write_temporary(self, data: bytes) -> Path:
        """Write a mail that is in memory to a temporary file."""
        path = self.temporary()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - its rights
            file.write(data)
        return path

    def keep(self, temporary: Path, blob_id: str) -> str:
        """Make a complete temporary file durable under its final name; return that.

        Raises:
            OSError: The file is not kept; it may stand under either name.

        Source: fsync(2): a new name is durable only once its folder is synced.
        """
        name = blob_id + FINAL
        file = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(file)
        finally:
            os.close(file)
        give_to_owner_of(self.folder, temporary)
        temporary.rename(self.folder / name)
        sync_folder(self.folder)
        return name

    def discard(self, *paths: Path) -> int:
        """Remove files that belong to no row; return how many went.

        One that cannot be removed is left for the next sweep.
        """
        gone = 0
        for path in paths:
            with suppress(OSError):
                path.unlink()
                gone += 1
        return gone

    def read(self, name: str) -> bytes | None:
        """Return a kept mail, None if its file is gone.

        Raises:
            OSError: It cannot be read now, or the whole folder is away.
        """
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            # A mount that is lost must not make every mail look lost for good.
            self.folder.stat()
            return None

    def old_files(self) -> tuple[list[Path], list[Path]]:
        """Return (temporaries, kept files) that nothing can still be writing."""
        before = time.time() - _OLD_S
        found: dict[str, list[Path]] = {TEMPORARY: [], FINAL: []}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                kind = os.path.splitext(entry.name)[1]  # noqa: PTH122 - no Path each
                try:
                    if kind not in found or not entry.is_file(follow_symlinks=False):
                        continue
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        found[kind].append(Path(entry.path))
                except OSError:
                    # Gone meanwhile, or a link that leads nowhere: not ours to remove,
                    # and no reason to keep the store from opening.
                    continue
        return found[TEMPORARY], found[FINAL]


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write to the disk of a folder."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def without_row(files: Iterable[Path], known: Iterable[str]) -> list[Path]:
    """Return the kept files that no row names."""
    names = set(known)
    return [path for path in files if path.name not in names]


def private_temporary_folder() -> Path:
    """Return a folder in the system's temporary one that is ours alone.

    It keeps its name, so that what a killed process left is found and swept.

    Raises:
        ConfigError: Another user has made it first.
    """
    folder = Path(tempfile.gettempdir()) / f"relay-spool-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise _config(folder, "cannot be made") from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise _config(folder, "belongs to another user")
    return folder


def _config(folder: Path, what: str) -> ConfigError:
    return ConfigError(
        f"store.spool = {str(folder)!r}: {what}; name a folder that this user may write"
    )
