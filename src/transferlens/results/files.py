"""Files that are whole or absent, and say so: atomic writes, checksums, claims.

A file is written under a temporary name, synced, and renamed. A temporary
file is locked while its writer lives, so an unlocked one is rubbish. Locks are
``flock``: the kernel drops them when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from transferlens.errors import ResultsError

__all__ = [
    "TEMPORARY",
    "announced",
    "claimed",
    "damage_of",
    "encode_parquet",
    "held",
    "os_errors",
    "parquet_metadata",
    "sync_folder",
    "try_lock",
    "write_atomically",
]

TEMPORARY = ".tmp-"
"""Prefix of a file or folder that is not finished."""

_CHECKSUM = "transferlens.sha256"
_UNSET = b"0" * 64
_ROW_GROUP = 25_000  # small enough to skip other targets in a merged file


@contextmanager
def os_errors(action: str, path: Path) -> Iterator[None]:
    """Turn the system's errors into one line that says what to do."""
    try:
        yield
    except OSError as error:
        msg = (
            f"cannot {action} {path}: {error.strerror or error}; "
            "mend this and run again: what is finished is kept"
        )
        raise ResultsError(msg) from error


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock on a file, or None if somebody else does.

    The file is made where it is absent. A lock on a file that was removed in
    the meantime is worth nothing, hence the loop.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


@contextmanager
def claimed(path: Path, *, patience: float = 0.1, owner: str = "") -> Iterator[bool]:
    """Hold the lock on a file; yields False where another process holds it.

    The file is removed on leaving. ``patience`` in seconds outlasts a reader
    that looks whether it is held. ``owner`` is added to the file as a line: one
    that stays behind names those who died while they held it.

    Raises
    ------
    ResultsError
        The lock file cannot be made.
    """
    with os_errors("lock", path):
        fd = _patient_lock(path, patience)
        if fd is not None and owner:
            os.lseek(fd, 0, os.SEEK_END)
            os.write(fd, f"{owner}\n".encode())
    try:
        yield fd is not None
    finally:
        if fd is not None:
            with suppress(OSError):
                path.unlink()
            os.close(fd)


@contextmanager
def announced(path: Path) -> Iterator[None]:
    """Share the lock on a file with others, so that nobody can claim it meanwhile.

    Waits while somebody holds the claim. The last to leave removes the file.

    Raises
    ------
    ResultsError
        The lock file cannot be made.
    """
    with os_errors("lock", path):
        fd = _shared_lock(path)
    try:
        yield
    finally:
        os.close(fd)
        with suppress(ResultsError), claimed(path, patience=0):
            pass


def _shared_lock(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(fd, fcntl.LOCK_SH)
        # As in `try_lock`: a removed file guards nothing.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _patient_lock(path: Path, patience: float) -> int | None:
    deadline = time.monotonic() + patience
    while (fd := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(patience / 10)
    return fd


def held(path: Path, *, shared: bool = False) -> bool:
    """Whether a living process holds the lock on a file, or shares it. Leaves the file alone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # With a shared one, two readers that look at once do not see each other.
        fcntl.flock(fd, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is whole, or as it was before.

    Raises
    ------
    ResultsError
        The system refuses: disk full, folder read-only.
    """
    with os_errors("write", path):
        temporary, fd = _new_temporary(path)
        try:
            _write_all(fd, content)
            os.fsync(fd)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(fd)
        sync_folder(path.parent)


def _new_temporary(path: Path) -> tuple[Path, int]:
    """Open a temporary file beside ``path``, locked so that nobody collects it."""
    name = f"{TEMPORARY}{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    temporary = path.with_name(name)
    while (fd := try_lock(temporary)) is None:
        time.sleep(0.001)
    return temporary, fd


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def encode_parquet(frame: pl.DataFrame, metadata: Mapping[str, str]) -> bytes:
    """Return the frame as Parquet whose metadata hold the checksum of the whole file.

    The checksum is taken with zeros in its own place, then written there.
    """
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=_ROW_GROUP,
        metadata={**metadata, _CHECKSUM: _UNSET.decode()},
    )
    content = bytearray(buffer.getbuffer())
    place = _checksum_place(content)
    content[place] = hashlib.sha256(content).hexdigest().encode()
    return bytes(content)


def _checksum_place(content: bytes | bytearray) -> slice:
    """Find the 64 hexadecimal digits; a negative start means that there are none."""
    at = content.rfind(_CHECKSUM.encode())
    # Thrift writes a field header and a length between key and value.
    start = at + len(_CHECKSUM) + 2
    return slice(start, start + 64) if at >= 0 else slice(-1, -1)


def damage_of(path: Path) -> str | None:
    """Say what is wrong with a Parquet file of ours, or None if it is whole."""
    try:
        content = bytearray(path.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    place = _checksum_place(content)
    if place.start < 0 or content[-4:] != b"PAR1":
        return "is cut short or is not a result file"
    stated = bytes(content[place])
    content[place] = _UNSET
    if hashlib.sha256(content).hexdigest().encode() != stated:
        return "has changed since it was written (checksum differs)"
    return None


def parquet_metadata(path: Path) -> dict[str, str]:
    """Return the key-value metadata of a Parquet file.

    Raises
    ------
    ResultsError
        The file is not readable as Parquet.
    """
    try:
        return pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        msg = f"{path} cannot be read ({reason}); delete it and run the study again"
        raise ResultsError(msg) from None
