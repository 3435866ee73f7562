"""What must hold before a big file is written: nobody else writes it, and the disk has room."""

import fcntl
import logging
import shutil
from pathlib import Path
from typing import BinaryIO

from espnet_sld.errors import InputError

SPARE = 64 * 10**6  # bytes left free


def lock(stream: BinaryIO, path: Path) -> None:
    """Take an open file for this process alone, until it is closed.

    Raises:
        InputError: another process has it.
    """
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path}: another process is at work on it; wait for it or stop it") from None
    except OSError:
        logging.warning(f"{path}: its file system has no locks; start no second process that writes it")


def need_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InputError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise InputError(
            f"{folder}: {what} needs {needed / 1e9:.2f} GB more, {free / 1e9:.2f} GB are free; "
            "free some, or choose a folder on another disk"
        )
