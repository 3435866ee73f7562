"""utils/parse_options.sh and utils/log.sh in a real shell."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = """#!/usr/bin/env bash
# Recognise speech.
# Second line.
set -euo pipefail
# begin options
# Stages
stage=1           # first stage
                  # to run
dry_run=false     # print only
# Names
name="a # b"      # a name
tag=              # empty: derived
# end options
hidden=1
. {root}/utils/log.sh
. {root}/utils/parse_options.sh
work() {{ die "no ${{name}}"; }}
printf '%s\\n' "${{stage}}|${{dry_run}}|${{name}}|${{tag}}|$*"
if [ "${{name}}" = bad ]; then work; fi
"""


@pytest.fixture
def script(repo_root: Path, tmp_path: Path):
    path = tmp_path / "driver.sh"
    path.write_text(SCRIPT.format(root=repo_root))

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", str(path), *arguments], capture_output=True, text=True, cwd=tmp_path)

    return run


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "1|false|a # b||"),
        (["--stage", "3", "--tag", "x y"], "3|false|a # b|x y|"),
        (["--stage=3", "--name="], "3|false|||"),
        (["--name=a=b"], "1|false|a=b||"),
        (["--dry_run"], "1|true|a # b||"),
        (["--dry-run", "--stage", "2"], "2|true|a # b||"),
        (["--dry_run", "false"], "1|false|a # b||"),
        (["--tag", "--lr 1 --steps 2"], "1|false|a # b|--lr 1 --steps 2|"),
        (["--stage", "-1", "one", "--two"], "-1|false|a # b||one --two"),
        (["--", "--stage", "2"], "1|false|a # b||--stage 2"),
    ],
)
def test_options_set_variables(script, arguments, printed):
    done = script(*arguments)
    assert (done.returncode, done.stdout) == (0, printed + "\n"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sage", "3"], "no such option: --sage"),
        (["--sage"], "no such option: --sage"),
        (["--PATH", "/"], "no such option: --PATH"),
        (["--hidden", "2"], "no such option: --hidden"),
        (["--stage"], "--stage needs a value"),
        (["--stage", "--dry_run"], "--stage needs a value"),
        (["--tag", "--stage", "2"], "--tag needs a value"),
        (["--dry_run", "maybe"], "--dry_run takes true or false, not 'maybe'"),
        (["--config", "absent.conf"], "no such file"),
    ],
)
def test_mistakes_are_named_and_help_is_pointed_to(script, arguments, message):
    done = script(*arguments)
    assert done.returncode == 1
    assert message in done.stderr and "--help" in done.stderr
    assert done.stdout == ""


def test_help_is_the_head_and_the_commented_defaults(script):
    lines = [line.split() for line in script("--help").stdout.splitlines()]
    text = [" ".join(line) for line in lines]
    assert "Recognise speech." in text and "Second line." in text
    assert "Stages:" in text and "Names:" in text
    assert "--stage first stage to run (1)" in text
    assert "--dry_run print only (false)" in text
    assert "--name a name (a # b)" in text
    assert "--tag empty: derived" in text
    assert not any("hidden" in line for line in text)


def test_a_configuration_file_yields_to_the_command_line(script, tmp_path):
    (tmp_path / "my.conf").write_text("# comment\nstage=5   # why\n\nname='x y'\ntag=t")
    assert script("--stage", "7", "--config", "my.conf").stdout == "7|false|x y|t|\n"


def test_a_configuration_file_is_data_not_code(script, tmp_path):
    (tmp_path / "my.conf").write_text("tag=$(touch made)\n")
    assert script("--config", "my.conf").stdout == "1|false|a # b|$(touch made)|\n"
    assert not (tmp_path / "made").exists()
    (tmp_path / "bad.conf").write_text("stage=1\nsage=2\n")
    assert "bad.conf:2: sage" in script("--config", "bad.conf").stderr


def test_without_markers_the_lines_before_the_parser_are_the_options(repo_root, tmp_path):
    path = tmp_path / "short.sh"
    path.write_text(f"set -eu\nnj=4  # jobs\n. {repo_root}/utils/parse_options.sh\nlater=1\necho $nj\n")
    assert subprocess.run(["bash", path, "--nj", "8"], capture_output=True, text=True).stdout == "8\n"
    assert subprocess.run(["bash", path, "--later", "8"], capture_output=True).returncode == 1


def test_options_may_stand_in_several_files(repo_root, tmp_path):
    for name, variable in (("a.sh", "nj=4   # jobs"), ("b.sh", "tag=     # name")):
        (tmp_path / name).write_text(
            f"# Head of {name}.\n\n# begin options\n# Of {name}\n{variable}\n# end options\n"
        )
    with (tmp_path / "b.sh").open("a") as stream:
        stream.write(
            f". ./a.sh\noption_files=(a.sh b.sh)\n. {repo_root}/utils/parse_options.sh\necho $nj $tag\n"
        )

    def run(*arguments: str) -> str:
        command = ["bash", "-eu", "b.sh", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout

    assert run("--nj", "8", "--tag", "x") == "8 x\n"
    text = run("--help")
    assert "Head of b.sh." in text and "Head of a.sh." not in text
    assert text.index("Of a.sh:") < text.index("--nj") < text.index("Of b.sh:") < text.index("--tag")


def test_die_names_file_line_and_function(script):
    done = script("--name", "bad")
    assert done.returncode == 1
    assert "(driver.sh:17:work) error: no bad" in done.stderr
