"""Whole files: written beside, then renamed; JSON; and Kaldi's two-column tables."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from espnet_sld.errors import InputError


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside `path`; rename it to `path` only if the block succeeds.

    A reader therefore sees the old file or the whole new one, never a part, also after kill -9.
    Text is UTF-8 with LF line ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a write does not say what it was to
            error.filename = str(path)
        raise


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def write_json(path: str | os.PathLike, value: Any, *, indent: int | None = 1, **options: Any) -> None:
    """Write JSON and a line end, atomically; `options` are json.dump's."""
    with atomic_write(path) as stream:
        json.dump(value, stream, indent=indent, **options)
        stream.write("\n")


def read_json(path: str | os.PathLike, *, other: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        other: what is returned for JSON that is no object; None: that is an error.

    Raises:
        InputError: the file is missing, not JSON, or no object.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); delete it and run its stage again") from None
    if isinstance(values, dict):
        return values
    if other is None:
        raise InputError(f"{path}: expected a JSON object, found a {type(values).__name__}")
    return other


def read_table(path: str | os.PathLike, *, allow_empty_value: bool = False) -> dict[str, str]:
    """Read `key value…` lines into a dictionary, in file order.

    Raises:
        InputError: the file is missing or not UTF-8, a key is doubled, or a value is empty
            (unless `allow_empty_value`).
    """
    path = Path(path)
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                fields = line.rstrip("\n").split(maxsplit=1)
                if not fields:
                    raise InputError(f"{path}:{number}: empty line; delete it")
                key, value = fields[0], fields[1].strip() if len(fields) == 2 else ""
                if key in table:
                    raise InputError(f"{path}:{number}: '{key}' occurs twice; ids must be unique")
                if not value and not allow_empty_value:
                    raise InputError(f"{path}:{number}: '{key}' has no value; add it or delete the line")
                table[key] = value
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    return table


def write_table(path: str | os.PathLike, rows: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
    """Write `key value` lines sorted by key in C order (bytes), atomically."""
    items = rows.items() if isinstance(rows, Mapping) else rows
    with atomic_write(path) as stream:
        for key, value in sorted(items, key=lambda item: item[0].encode()):
            stream.write(f"{key} {value}\n" if value else f"{key}\n")
