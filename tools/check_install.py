"""Compare the installed packages with setup.py's ranges and the lock, and show what else is there.

usage: python tools/check_install.py [--all] [--quiet] [--missing]
Exit code 1 when something required is missing or out of range. Ranges are checked
where `packaging` is installed; all else needs the standard library only.
"""

import argparse
import ast
import importlib
import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# Extras that the toolkit does without: extra → what is lost.
OPTIONAL = {"s3prl": "SSL front-ends by s3prl", "translation": "BLEU", "mini": "egs/mini (synthesis)"}
PROGRAMS = {"git": "revision in RESULTS.md", "make": "make demo, make test", "sbatch": "Slurm back-end"}
# Packages with a compiled library, and how they are imported: a wrong wheel installs, but fails to load.
COMPILED = {
    "soundfile": "soundfile",
    "soxr": "soxr",
    "sentencepiece": "sentencepiece",
    "kaldi-native-fbank": "kaldi_native_fbank",
    "rapidfuzz": "rapidfuzz",
}
TORCH_PROBE = """
import torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(torch.__version__, "|", ", ".join(names) or "no GPU, runs on the CPU")
"""


class Row(NamedTuple):
    """One line of the table; `ok` is None for optional parts that are absent."""

    name: str
    wanted: str
    installed: str
    ok: bool | None
    note: str = ""


def canonical(name: str) -> str:
    """PyPI's spelling: lower case, hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(setup: Path) -> dict[str, tuple[str, str]]:
    """setup.py's direct requirements: name → (range, extra or '')."""
    found: dict[str, tuple[str, str]] = {}
    groups: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(setup.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            groups[""] = ast.literal_eval(node.value)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXTRAS":
            groups.update(ast.literal_eval(node.value))
    for extra, requirements in groups.items():
        for requirement in requirements:
            name, wanted = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", requirement).groups()
            found[canonical(name)] = (wanted, extra)
    return found


def read_lock(path: Path) -> dict[str, str]:
    """The lock's `name==version` lines."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


def installed_versions() -> dict[str, str]:
    """Every distribution of this environment: canonical name → version."""
    return {
        canonical(found.metadata["Name"]): found.version
        for found in metadata.distributions()
        if found.metadata["Name"]
    }


def choose_lock(versions: dict[str, str]) -> dict[str, str]:
    """The GPU lock where a CUDA build of torch brought its libraries, else the CPU lock."""
    gpu = any(name.startswith("nvidia-cublas") and "cu12" not in name for name in versions)
    return read_lock(ROOT / "tools" / ("gpu.lock" if gpu else "cpu.lock"))


def within(version: str, wanted: str) -> bool:
    """Whether a version satisfies a range such as `>=5.23,<6`; local parts (+cpu) do not count."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True  # reported as missing on its own row
    return SpecifierSet(wanted).contains(version.split("+")[0], prereleases=True)


def package_rows(
    requirements: dict[str, tuple[str, str]], lock: dict[str, str], versions: dict[str, str], everything: bool
) -> list[Row]:
    """Direct requirements one by one; the rest of the lock one by one too, or only where it is missing."""
    rows = []
    for name, locked in lock.items():
        version = versions.get(name)
        wanted, extra = requirements.get(name, ("", None))
        optional = extra in OPTIONAL
        if extra is None and not everything and version is not None:
            continue
        if version is None:
            note = f"only for {OPTIONAL[extra]}" if optional else "missing"
            rows.append(Row(name, wanted or locked, "-", None if optional else False, note))
        elif wanted and not within(version, wanted):
            rows.append(Row(name, wanted, version, False, "out of range"))
        else:
            note = "" if version.split("+")[0] == locked.split("+")[0] else f"tested with {locked}"
            rows.append(Row(name, wanted or locked, version, True, note))
    return rows


def torch_row() -> Row:
    """Whether torch loads, and which GPUs it sees (in a process of its own: it takes seconds)."""
    result = subprocess.run([sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["?"])[-1]
        return Row("torch loads", "", "-", False, reason)
    version, _, devices = result.stdout.strip().partition(" | ")
    return Row("torch loads", "", version, True, devices)


def compiled_rows(versions: dict[str, str]) -> list[Row]:
    """Installed packages whose compiled library does not load."""
    rows = []
    for name, module in COMPILED.items():
        if name in versions:
            try:
                importlib.import_module(module)
            except (ImportError, OSError) as error:
                rows.append(Row(f"{name} loads", "", versions[name], False, str(error).splitlines()[0]))
    return rows


def other_rows() -> list[Row]:
    """Python, and the programs that are used where they are there."""
    python = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    rows = [Row("python", ">=3.11,<3.13", python, supported, sys.executable)]
    for program, use in PROGRAMS.items():
        path = shutil.which(program)
        note = "" if path else f"only for {use}"
        rows.append(Row(program, "optional", path or "-", True if path else None, note))
    return rows


def show(rows: list[Row]) -> None:
    """Print an aligned table."""
    header = ("package", "wanted", "installed", "ok", "note")
    words = {True: "yes", False: "NO", None: "-"}
    table = [header] + [(*row[:3], words[row.ok], row.note) for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(4)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)).rstrip())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--all", action="store_true", help="every package of the lock")
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")
    parser.add_argument("--missing", action="store_true", help="print the lock's lines not installed")
    options = parser.parse_args(argv)

    versions = installed_versions()
    lock = choose_lock(versions)
    if options.missing:
        for name, version in lock.items():
            if name not in versions:
                print(f"{name}=={version}")
        return 0
    rows = package_rows(read_requirements(ROOT / "setup.py"), lock, versions, options.all)
    if "torch" in versions:
        rows.append(torch_row())
    rows += compiled_rows(versions)
    rows += other_rows()
    wrong = [row for row in rows if row.ok is False]
    if not options.quiet:
        show(rows)
        print(f"{sum(name in versions for name in lock)} of {len(lock)} packages of the lock are installed")
    elif wrong:
        show(wrong)
    if wrong and not options.quiet:
        print(f"{len(wrong)} required part(s) missing or out of range; tools/install.sh installs them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
