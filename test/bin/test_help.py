"""--help of every command: fits a screen or is grouped, has an example and defaults, loads nothing heavy."""

import argparse
import contextlib
import importlib
import io
import itertools
import pkgutil
import subprocess
import sys

import pytest

import espnet_sld.bin

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(espnet_sld.bin.__path__))
COLUMNS, LINES = 100, 50
# These pass options on to ESPnet, or have a file format to show, and print a text of their own.
WRITTEN = {"train", "train_ctc", "espnet", "espnet_shards"}


@pytest.fixture
def usage(monkeypatch):
    """What `--help` prints, and the exit code."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def run(name: str) -> tuple[str, object]:
        module, out = importlib.import_module(f"espnet_sld.bin.{name}"), io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                code = module.main(["--help"])
            except SystemExit as stop:
                code = stop.code
        return out.getvalue(), code

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_or_is_grouped_and_has_an_example(name, usage):
    text, code = usage(name)
    lines = text.rstrip().splitlines()
    assert code in (0, None)
    assert lines[0].lower().startswith("usage:")
    assert ("example" in text and "espnet_sld.bin" in text) or "utils/" in text or "espnet-sld" in text
    assert [line for line in lines if len(line) > COLUMNS + 10] == []  # an example may be a little longer
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert len(lines) <= LINES or len(headings) > 2


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_of_several_lines_can_be_pasted(name, usage):
    lines = usage(name)[0].partition("example")[2].rstrip().splitlines()[1:]
    ends = [line for line, following in itertools.pairwise(lines) if following.strip().startswith("--")]
    assert [line for line in ends if not line.endswith(" \\")] == []


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WRITTEN))
def test_every_option_says_what_it_is_and_its_default(name, usage, monkeypatch):
    made, real = [], argparse.ArgumentParser.parse_args

    def parse(self, *args, **kwargs):
        made.append(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    text, _ = usage(name)
    letters = "".join(text.split())  # a default may be broken at a hyphen
    for action in made[0]._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        assert action.help, f"{action.dest} has no help"
        absent = action.default in (None, argparse.SUPPRESS, [], {})
        none = absent or action.required or not action.option_strings
        default = "".join(f"(default: {action.default})".split())
        assert none or default in letters, f"{action.dest}: its default is not shown"


def test_no_command_needs_a_heavy_package_for_its_help():
    code = (
        "import contextlib, importlib, io, sys\n"
        f"for name in {COMMANDS}:\n"
        "    module = importlib.import_module('espnet_sld.bin.' + name)\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        module.main(['--help'])\n"
        "print([name for name in ('torch', 'espnet2', 'transformers', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def complete(repo_root, folder, function: str, *words: str) -> set[str]:
    """What the shell offers for the last of these words."""
    listed = " ".join(f"'{word}'" for word in words)
    script = (
        f". '{repo_root}/utils/completion.bash'; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; "
        f"{function}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_completion_offers_commands_and_their_options(repo_root):
    recipe = repo_root / "egs" / "mini" / "asr_sld"
    offered = complete(repo_root, recipe, "_espnet_sld_recipe", "./run.sh", "--s")
    assert {"--stage", "--seed", "--skip_stages", "--stop_stage"} <= offered
    assert all(option.startswith("--s") for option in offered)
    command = (sys.executable, "-m")
    modules = complete(repo_root, recipe, "_espnet_sld_python", *command, "espnet_sld.bin.ins")
    assert modules == {"espnet_sld.bin.inspect"}
    options = complete(repo_root, recipe, "_espnet_sld_python", *command, "espnet_sld.bin.score", "--")
    assert {"--hyp", "--ref", "--out_dir"} <= options
