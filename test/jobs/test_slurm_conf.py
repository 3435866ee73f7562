"""conf/slurm.conf: ESPnet's rules become sbatch's options."""

import os
import subprocess
from pathlib import Path

import pytest

from espnet_sld.errors import InputError
from espnet_sld.jobs import slurm_client
from espnet_sld.jobs.arguments import parse
from espnet_sld.jobs.slurm import SlurmArray
from espnet_sld.jobs.slurm_conf import SlurmConf, read_slurm_conf

# The rules that ESPnet's recipes come with.
ESPNET = """
# Default configuration
command sbatch --export=PATH
option name=* --job-name $0
option time=* --time $0
option mem=* --mem-per-cpu $0
option mem=0
option num_threads=* --cpus-per-task $0
option num_threads=1 --cpus-per-task 1
option num_nodes=* --nodes $0
default gpu=0
option gpu=0 -p cpu
option gpu=* -p gpu --gres=gpu:$0 -c $0  # a comment
default gpu_limit=200
option gpu_limit=*
"""


@pytest.fixture
def conf_of(tmp_path: Path):
    def read(text: str) -> SlurmConf:
        (tmp_path / "slurm.conf").write_text(text)
        return read_slurm_conf(tmp_path / "slurm.conf")

    return read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "-p cpu"),
        ({"mem": "4G", "time": "1-0", "name": "x"}, "-p cpu --mem-per-cpu 4G --time 1-0 --job-name x"),
        ({"mem": "0", "max_jobs_run": "3", "retries": "2", "config": "c", "poll_seconds": "5"}, "-p cpu"),
        ({"gpu": "4"}, "-p gpu --gres=gpu:4 -c 4"),
        ({"gpu": "a100:4"}, "-p gpu --gres=gpu:a100:4 -c 4"),
        ({"num_threads": "8", "gpu": "2"}, "-p gpu --gres=gpu:2 -c 2 --cpus-per-task 8"),
        ({"num_threads": "1", "num_nodes": "2"}, "-p cpu --nodes 2 --cpus-per-task 1"),
        ({"account": "me", "qos": "high", "-A": "you"}, "-p cpu --account me --qos high -A you"),
    ],
)
def test_espnets_rules_give_sbatchs_options(conf_of, options, words):
    conf = conf_of(ESPNET)
    assert conf.command == ["sbatch", "--export=PATH"]
    assert conf.sbatch_words(options) == words.split()


def test_a_site_may_forbid_drop_or_type_an_option(conf_of):
    conf = conf_of("command sbatch\noption mem=*\noption gpu=1 --gres=gpu:v100:1\ndefault time=1:00:00\n")
    assert conf.sbatch_words({"mem": "4G", "gpu": "1"}) == ["--time", "1:00:00", "--gres=gpu:v100:1"]
    with pytest.raises(InputError, match=r"--gpu 2: .*slurm.conf has no rule"):
        conf.sbatch_words({"gpu": "2"})


def test_an_explicit_number_of_cpus_wins_over_cpus_for_gpus(conf_of):
    """sbatch: `--cpus-per-gpu is mutually exclusive with --cpus-per-task`."""
    for rule in ("--cpus-per-gpu=8", "--cpus-per-gpu 8"):
        conf = conf_of(f"command sbatch\noption gpu=* --gres=gpu:$0 {rule} --exclusive\n")
        assert conf.sbatch_words({"gpu": "2"}) == ["--gres=gpu:2", *rule.split(), "--exclusive"]
        words = conf.sbatch_words({"gpu": "2", "num_threads": "4"})
        assert words == ["--gres=gpu:2", "--exclusive", "--cpus-per-task", "4"]


def test_the_submitters_own_options_have_defaults_too(conf_of, monkeypatch):
    monkeypatch.setattr(slurm_client, "limits", lambda: (1001, 300.0))
    monkeypatch.chdir(conf_of("command sbatch\n").source.removesuffix("slurm.conf"))
    conf = conf_of("command sbatch\ndefault max_jobs_run=3\ndefault retries=7\ndefault mem=4G\n")
    array = SlurmArray(parse(["--retries", "2", "JOB=1:9", "x.JOB.log", "true"]), conf)
    assert array.sender.throttle == 3 and array.request.number("retries", 5) == 2
    assert conf.sbatch_words(array.request.options) == ["--mem-per-cpu", "4G"]


def test_a_prologue_and_a_wrapper_are_kept_in_order(conf_of):
    conf = conf_of(
        "command sbatch\nprologue module purge\nprologue module load cuda\nwrapper apptainer exec 'a b.sif'\n"
    )
    assert conf.prologue == ["module purge", "module load cuda"]
    assert conf.wrapper == ["apptainer", "exec", "a b.sif"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("option mem=* --mem $0\n", "no line 'command"),
        ("command sbatch\noption --account=me\n", r"slurm.conf:2: .*into the line 'command"),
        ("command sbatch\ncluster b\n", r"slurm.conf:2: cannot read 'cluster b'"),
        (
            'command sbatch\noption mem=* --comment "$0\n',
            "slurm.conf:2: cannot read .*; No closing quotation",
        ),
        ("command sbatch\ndefault num_threads=lots\n", "slurm.conf:2: .*--num-threads takes a whole number"),
    ],
)
def test_lines_that_are_not_understood_are_named(conf_of, text, message):
    with pytest.raises(InputError, match=message):
        conf_of(text)


def test_a_named_file_must_exist_and_without_one_there_are_rules_too(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        read_slurm_conf(tmp_path / "none.conf")
    monkeypatch.chdir(tmp_path)
    assert read_slurm_conf().sbatch_words({"gpu": "1", "mem": "2G"}) == [
        "--gres=gpu:1",
        "--mem-per-cpu",
        "2G",
    ]
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/slurm.conf").symlink_to("nowhere")
    with pytest.raises(InputError, match="no such file"):
        read_slurm_conf()


@pytest.mark.parametrize(
    ("backend", "command"), [("", "run.py"), ("local", "run.py"), ("slurm", "slurm.py"), ("ssh", "ssh.py")]
)
def test_the_environment_chooses_the_back_end_of_every_recipe(repo_root, backend, command):
    for recipe in (path.parent for path in repo_root.glob("egs/*/*/cmd.sh")):
        script = ". ./path.sh; . ./cmd.sh; echo $train_cmd $decode_cmd $cuda_cmd"
        environment = {"PATH": os.environ["PATH"], "cmd_backend": backend}
        done = subprocess.run(
            ["bash", "-c", script], cwd=recipe, env=environment, capture_output=True, text=True
        )
        assert done.stdout.split()[:3] == [command] * 3, recipe


def test_an_unknown_back_end_is_an_error(repo_root):
    script = "MAIN_ROOT=../../..; . ./cmd.sh"
    environment = {"PATH": os.environ["PATH"], "cmd_backend": "sge"}
    folder = repo_root / "egs/mini/asr_sld"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "must be local, slurm or ssh" in done.stderr


def test_every_recipe_has_the_same_cmd_sh_and_the_templates_slurm_conf(repo_root):
    recipes = [path.parent for path in repo_root.glob("egs/*/*/run.sh")]
    assert len(recipes) >= 5
    assert len({(recipe / "cmd.sh").read_text() for recipe in recipes}) == 1, "copy egs/mini/asr_sld/cmd.sh"
    template = repo_root / "egs/TEMPLATE/conf/slurm.conf"
    different = [
        recipe for recipe in recipes if (recipe / "conf/slurm.conf").read_text() != template.read_text()
    ]
    assert different == []
    conf = read_slurm_conf(template)
    assert conf.sbatch_words({"gpu": "2", "num_nodes": "1"}) == ["--gres=gpu:2"]
    assert conf.sbatch_words({"signal": "B:USR1@180"}) == ["--signal", "B:USR1@180"]
