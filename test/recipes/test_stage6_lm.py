"""The LM of stage 6 of ctc_kd.sh: trained once, and never taken for another's."""

import subprocess
from pathlib import Path

import pytest

# Stands for the driver: `run` notes the program that it is given, and a training leaves its configuration.
DRIVER = """
set -euo pipefail
export MAIN_ROOT={root}
. "${{MAIN_ROOT}}/egs/TEMPLATE/common.sh"
run() {{
  [ "$1" != sort ] || "$@"
  [ "$1" != true ] || {{ echo "$2"; [ ! -d {lm} ] || touch {lm}/config.yaml; [ ! -e broken ] || exit 3; }}
}}
raw() {{ echo "$1.$2"; }}
train_cmd=true cuda_cmd="true" dry_run={dry_run} lm_config=lm.yaml lm_args={lm_args} ngpu=0
train_dir=train dev_set=dev transcript=text lm_stats=stats lm_exp={lm} more_text=()
tokens=(--token_list tokens.txt)
. "${{MAIN_ROOT}}/egs/TEMPLATE/ctc_kd_stage6.sh"
mkdir -p stats
train_lm
"""


@pytest.fixture
def train(repo_root: Path, tmp_path: Path):
    """Calls train_lm in a folder with a text, a configuration and a token list."""
    texts = {"train.text": "a x\nb y\n", "dev.text": "c x\n", "lm.yaml": "lr: 1\n", "tokens.txt": "x\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def call(lm: str = "lm", lm_args: str = "''", dry_run: str = "false") -> subprocess.CompletedProcess:
        script = DRIVER.format(root=repo_root, lm=lm, lm_args=lm_args, dry_run=dry_run)
        return subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)

    return call


def test_a_finished_lm_is_left_alone_and_an_unfinished_one_goes_on(train, tmp_path):
    (tmp_path / "broken").touch()
    assert train().returncode == 3 and not (tmp_path / "lm" / "finished").exists()
    (tmp_path / "broken").unlink()
    resumed, again = train(), train()
    assert (resumed.returncode, again.returncode) == (0, 0), resumed.stderr + again.stderr
    assert resumed.stdout and not again.stdout


@pytest.mark.parametrize("changed", ["train.text", "dev.text", "lm.yaml", "tokens.txt", "lm_args"])
def test_an_lm_of_other_inputs_is_refused(train, tmp_path, changed):
    assert train().returncode == 0
    options = {}
    if changed == "lm_args":
        options = {"lm_args": "'--max_epoch 7'"}
    else:
        (tmp_path / changed).write_text("b z\n")
    refused = train(**options)
    assert (
        refused.returncode == 1 and "of other text or options; give --lm_tag, or delete it" in refused.stderr
    )
    assert not refused.stdout
    assert train("other_lm", **options).returncode == 0


def test_an_lm_of_unknown_inputs_is_refused(train, tmp_path):
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "config.yaml").touch()
    refused = train()
    assert refused.returncode == 1 and "maybe of other text or options" in refused.stderr


def test_a_dry_run_writes_nothing(train, tmp_path):
    assert train(dry_run="true").returncode == 0
    assert not (tmp_path / "lm").exists()
