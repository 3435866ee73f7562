"""What every command shares: option types, help layout, and one clear message for a bad input."""

import argparse
import errno
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from espnet_sld.errors import InputError

RESOURCES = {
    errno.ENOSPC: "no space left on the device; free some, then run the same command again",
    errno.EDQUOT: "disk quota exceeded; free some space, then run the same command again",
    errno.EROFS: "the file system is read-only; choose another output directory",
    errno.EACCES: "permission denied; check owner and mode",
    errno.EISDIR: "is a directory; name a file",
    errno.ENOTDIR: "lies below what is a file, not a directory; correct the path",
    errno.EFBIG: "the file grew past the limit of the file system or of ulimit -f; raise it, then run again",
}


class Formatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the example's line breaks and names every default; what has none says so in its own words."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


def get_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with the house's layout; options are `--snake_case` and may not be abbreviated."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=Formatter,
        allow_abbrev=False,
    )


def str2bool(value: str) -> bool:
    """`true`/`false` (also yes/no, 1/0), as ESPnet's options."""
    lowered = value.lower()
    if lowered in {"true", "yes", "1"}:
        return True
    if lowered in {"false", "no", "0"}:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got '{value}'")


def key_values(items: list[str]) -> dict[str, object]:
    """`["frame_shift_ms=20"]` → `{"frame_shift_ms": 20}`; numbers and booleans are recognised."""
    result: dict[str, object] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InputError(f"expected key=value, got '{item}'")
        result[key] = _scalar(value)
    return result


def _scalar(value: str) -> object:
    if value in {"true", "false"}:
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def device_name(ngpu: int) -> str:
    """`cuda` where GPUs are asked for, else `cpu`. Raises InputError if there are none."""
    if not ngpu:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise InputError(f"--ngpu {ngpu}, but no device is here; use --ngpu 0")
    return "cuda"


def checkpoint_of(exp_dir: Path, name: str) -> Path:
    """An experiment's checkpoint. Raises InputError, with those that are there, if it is none of them."""
    path = exp_dir / name
    if not path.exists():
        have = ", ".join(sorted(other.name for other in exp_dir.glob("*.pth"))) or "none"
        raise InputError(f"{path}: no such checkpoint; there are: {have}")
    return path


def run(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit; bad input gives one message, anything else its traceback."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
    )
    try:
        sys.exit(main() or 0)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in RESOURCES:
            raise
        sys.exit(f"error: {error.filename or 'output'}: {RESOURCES[error.errno]}")
    except KeyboardInterrupt:
        sys.exit(130)
