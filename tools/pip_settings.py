"""Print pip's configured sources as arguments for uv, one per line; uv does not read pip's configuration.

usage: python tools/pip_settings.py [--pip PYTHON]
Standard library only. What pip has no setting for is left to uv's defaults.
"""

import argparse
import ast
import subprocess
import sys

PYPI = "https://pypi.org/simple"
# pip's key → uv's option; pip separates several values by white space.
LISTS = {"find-links": "--find-links", "trusted-host": "--allow-insecure-host"}


def parse_config(listing: str) -> dict[str, str]:
    """The settings in force among the lines of `pip config list`.

    A line is `section.key='value'`; the environment (`:env:`) wins over `install`, that over `global`.
    """
    order = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        if not separator or section not in order:
            continue
        try:
            text = str(ast.literal_eval(value))
        except (SyntaxError, ValueError):
            text = value.strip()
        if key not in found or order[section] >= found[key][0]:
            found[key] = (order[section], text)
    return {key: text for key, (_, text) in found.items()}


def uv_arguments(settings: dict[str, str]) -> list[str]:
    """uv's arguments for these settings; among several sources the best version wins, as with pip.

    Of one version uv takes the files of the first index that has it, and its default index comes last; pip
    looks at all files. So the main index goes first: an extra one may hold only a part of a release.
    """
    arguments = ["--index-strategy", "unsafe-best-match"]
    main = settings.get("index-url", "").split()
    extra = settings.get("extra-index-url", "").split()
    indexes = [*(main or [PYPI]), *extra] if extra else main
    for place, index in enumerate(indexes, 1):
        arguments += ["--default-index" if place == len(indexes) else "--index", index]
    for key, option in LISTS.items():
        for value in settings.get(key, "").split():
            arguments += [option, value]
    if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        arguments.append("--no-index")
    return arguments


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pip", default=sys.executable, help="the Python whose pip is asked")
    parser.add_argument("--key", help="print this setting alone, e.g. cert")
    options = parser.parse_args()
    command = [options.pip, "-m", "pip", "config", "list"]
    settings = parse_config(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    for line in [settings.get(options.key, "")] if options.key else uv_arguments(settings):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
