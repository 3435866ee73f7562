"""Stamps: a small JSON beside an output that says from which inputs and options it was made."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_sld.files import write_json


def file_digest(path: str | os.PathLike) -> str:
    """Content hash of a file; 'missing' where there is none."""
    path = Path(path)
    if not path.exists():
        return "missing"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class Stamp:
    """Decides whether an output is up to date, and records how it was made.

    Args:
        path: the stamp's own file, e.g. `<output>.done.json`.
        inputs: files whose content the output depends on.
        options: everything else that it depends on (JSON values).
        outputs: files that must exist for the stamp to hold.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        inputs: Iterable[str | os.PathLike] = (),
        options: Mapping[str, Any] | None = None,
        outputs: Iterable[str | os.PathLike] = (),
    ):
        self.path = Path(path)
        self.outputs = [Path(output) for output in outputs]
        self.inputs = {str(name): file_digest(name) for name in inputs}
        self.options = json.loads(json.dumps(dict(options or {}), default=str, sort_keys=True))
        self.started = time.time()

    def fresh(self) -> bool:
        """True if the stamp exists with the same inputs and options, and the outputs are there."""
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        same = stored.get("inputs") == self.inputs and stored.get("options") == self.options
        return same and all(output.exists() for output in self.outputs)

    def differences(self) -> list[str]:
        """What has changed since the stamp was written, in words."""
        stored = json.loads(self.path.read_text(encoding="utf-8"))
        changed = [
            f"{name} changed" for name, now in self.inputs.items() if stored["inputs"].get(name, now) != now
        ]
        changed += [f"{name} is new" for name in self.inputs if name not in stored["inputs"]]
        changed += [f"{name} is gone" for name in stored["inputs"] if name not in self.inputs]
        before = stored["options"]
        for name in sorted({*before, *self.options}):
            old, new = before.get(name), self.options.get(name)
            if old == new:
                continue
            if isinstance(old, list) and isinstance(new, list):
                changed += [f"without {item}" for item in old if item not in new]
                changed += [f"with {item}" for item in new if item not in old]
            else:
                changed.append(f"{name}: {old} → {new}")
        return changed

    def result(self) -> dict[str, Any]:
        """What `write` stored (call only when fresh)."""
        return json.loads(self.path.read_text(encoding="utf-8"))["result"]

    def withdraw(self) -> None:
        """Call before outputs are replaced: after a kill, this stamp must not vouch for other ones.

        Not earlier: what fails until then leaves the earlier outputs whole and their stamp right.
        """
        self.path.unlink(missing_ok=True)

    def write(self, **result: Any) -> None:
        """Record success; call after the outputs stand at their final names."""
        record = {
            "inputs": self.inputs,
            "options": self.options,
            "result": result,
            "host": platform.node(),
            "seconds": round(time.time() - self.started, 3),
        }
        write_json(self.path, record, sort_keys=True)
