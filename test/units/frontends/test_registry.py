"""Front-ends by name: what is understood, what is refused, what is not loaded."""

import subprocess
import sys

import pytest

from espnet_sld.bin import extract_units, fit_kmeans
from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.frontends.base import LAYERED, file_name


@pytest.mark.parametrize(
    ("model", "layer", "expected"),
    [
        ("wavlm_large", 21, "wavlm_large_21"),
        ("./models/wavlm_tiny.pt", 3, "wavlm_tiny_3"),
        ("/data/hubert.v2-large/", 24, "hubert.v2-large_24"),
    ],
)
def test_file_names(model, layer, expected):
    assert file_name(model, layer) == expected


def test_the_papers_models_are_known():
    names = "wavlm_base wavlm_base_plus wavlm_large hubert_base hubert_large_ll60k hubert_large_ll160k"
    assert {*names.split(), "whisper_large_v3", "whisper_tiny_en"} <= set(LAYERED)


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("wavlm_large", {}, "needs a layer: give wavlm_large/LAYER"),
        ("wavlm_huge/3", {}, r"no front-end 'wavlm_huge/3'; known: mfcc; with a layer.* wavlm_large"),
        ("wavlm_large/last", {}, "no front-end 'wavlm_large/last'"),
        ("/no/such/file.pt/3", {}, "checkpoint file or a Hugging Face directory that exists"),
        ("mfcc/3", {}, "no front-end 'mfcc/3'"),
        ("wavlm_large/3", {"layers": 3}, "has no option layers; known: backend source revision"),
        ("wavlm_large/3", {"layer": 3}, "has no option layer"),
        ("wavlm_large/3", {"backend": "fairseq"}, "backend 'fairseq' must be one of s3prl transformers"),
        ("wavlm_large/3", {"backend": 3}, "backend=3 must be a word"),
        ("wavlm_large/3", {"precision": "int8"}, "precision 'int8' must be one of fp32 tf32 bf16 fp16"),
        ("wavlm_large/3", {"precision": "tf32"}, "tf32 exists on GPUs only"),
        ("wavlm_large/3", {"device": "abacus"}, "no device 'abacus'"),
        ("whisper_tiny/3", {"backend": "openai"}, "backend 'openai' must be transformers"),
    ],
)
def test_wrong_requests_are_input_errors(name, conf, message):
    with pytest.raises(InputError, match=message):
        build_frontend(name, **conf)


def test_a_gpu_that_is_not_there_is_an_input_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="torch sees no GPU"):
        build_frontend("wavlm_large/3", device="cuda")


def test_a_path_needs_a_layer_and_takes_no_source(checkpoint):
    path = checkpoint("wavlm")
    with pytest.raises(InputError, match="needs a layer"):
        build_frontend(str(path))
    with pytest.raises(InputError, match="a path is its own source"):
        build_frontend(f"{path}/1", source=str(path))
    for layer in (0, 4):
        with pytest.raises(InputError, match=rf"layer {layer} must be 1 … 3, its blocks"):
            build_frontend(f"{path}/{layer}")


def test_mfcc_ignores_the_device():
    assert build_frontend("mfcc", device="cuda:7").describe() == build_frontend("mfcc").describe()


@pytest.mark.slow
def test_front_ends_with_models_never_load_torchaudio_or_espnet(checkpoint, whisper_dir, repo_root):
    code = (
        "import sys, numpy; from espnet_sld.units.frontends import build_frontend\n"
        "heavy = lambda *names: [m for m in names if m in sys.modules]\n"
        "assert heavy('torch', 'transformers', 's3prl') == []\n"
        "for path, backend in zip(sys.argv[1:], ('s3prl', 'transformers', 'transformers')):\n"
        "    build_frontend(path + '/1', backend=backend).extract([numpy.zeros(4000, 'f4')])\n"
        "    print(heavy('torchaudio', 'espnet2', 'fairseq', 'librosa'))"
    )
    paths = [checkpoint("wavlm"), checkpoint("hubert", "base"), whisper_dir]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=repo_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n[]\n[]\n"


@pytest.mark.parametrize("option", ["device", "name"])
def test_options_of_the_command_are_no_options_of_the_front_end(option, tmp_path):
    given = ["--data_dir", str(tmp_path), "--out_dir", str(tmp_path), "--frontend_conf", f"{option}=cpu"]
    for main, more in (
        (fit_kmeans.main, ["--num_clusters", "4"]),
        (extract_units.main, ["--kmeans_dir", "k"]),
    ):
        with pytest.raises(InputError, match=f"has no option {option}: it is the command's own, --"):
            main([*given, *more])
