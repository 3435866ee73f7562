"""HiFi-GAN directories of both formats give the waveforms of the programs that made them."""

import json
import pickle

import h5py
import numpy as np
import pytest
import torch
import yaml
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from espnet_sld.errors import InputError
from espnet_sld.vocoder.hifigan_files import load_hifigan
from espnet_sld.vocoder.mel import MelConf

SHAPE = {"resblock_kernel_sizes": [3, 5]}
DILATIONS = [[1, 3], [1, 3]]


def random_mel(frames: int = 11) -> np.ndarray:
    return np.random.default_rng(0).normal(-2, 1, (frames, 80)).astype(np.float32)


@pytest.fixture
def reference(tmp_path) -> SpeechT5HifiGan:
    """A small random model of transformers, saved in `tmp_path/hf`."""
    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        upsample_initial_channel=16,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        resblock_dilation_sizes=DILATIONS,
        initializer_range=0.2,
        **SHAPE,
    )
    model = SpeechT5HifiGan(config).eval()
    model.mean.normal_()
    model.scale.uniform_(0.5, 2)
    model.save_pretrained(tmp_path / "hf")
    return model


def test_transformers_format_gives_transformers_waveform(reference, tmp_path):
    maker, mel = load_hifigan(tmp_path / "hf"), random_mel()
    with torch.no_grad():
        expected = reference(torch.from_numpy(mel)).numpy()
    assert np.abs(expected).max() > 0.01
    assert np.allclose(maker(mel, 10 * 256 + 7), expected[: 10 * 256 + 7], atol=1e-6)
    assert maker.conf == MelConf(floor=1e-10)


def test_an_analysis_beside_the_model_is_used_and_normalisation_can_be_off(reference, tmp_path):
    extra = {"win_length": 50, "fmin": 0, "fmax": 8000, "mel_floor": 1e-6}
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(extra))
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, "normalize_before": False}))
    maker, mel = load_hifigan(tmp_path / "hf"), random_mel()
    assert (maker.conf.window, maker.conf.n_fft, maker.conf.high_freq, maker.conf.floor) == (
        800,
        1024,
        8000,
        1e-6,
    )
    reference.config.normalize_before = False
    with torch.no_grad():
        assert np.allclose(maker(mel, 2816), reference(torch.from_numpy(mel)).numpy(), atol=1e-6)


@pytest.fixture
def parallel_wavegan(tmp_path):
    """A small random generator in ParallelWaveGAN's layout, from ESPnet's copy of it, and its waveform."""
    from espnet2.gan_tts.hifigan.hifigan import HiFiGANGenerator

    torch.manual_seed(1)
    parameters = {
        "in_channels": 80,
        "channels": 16,
        "kernel_size": 5,
        "upsample_scales": [5, 4, 3],
        "upsample_kernel_sizes": [10, 8, 6],
        "resblock_dilations": DILATIONS,
        "use_additional_convs": True,
        "nonlinear_activation_params": {"negative_slope": 0.2},
        **SHAPE,
    }
    model = HiFiGANGenerator(**parameters).eval()
    for name, value in model.named_parameters():
        value.data.normal_(0, 1.0 if name.endswith("_g") else 0.3)
    folder = tmp_path / "pwg"
    folder.mkdir()
    config = {
        "generator_type": "HiFiGANGenerator",
        "generator_params": parameters,
        "sampling_rate": 24000,
        "fft_size": 2048,
        "hop_size": 60,
        "win_length": 1200,
        "window": "hann",
        "num_mels": 80,
        "fmin": 80,
        "fmax": 7600,
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    optimiser = {"generator": {"state": {}, "param_groups": []}}
    torch.save(
        {"model": {"generator": model.state_dict(), "discriminator": {}}, "optimizer": optimiser, "steps": 9},
        folder / "checkpoint-9steps.pkl",
    )
    mean, scale = np.random.default_rng(1).random((2, 80)).astype(np.float32) + 0.5
    with h5py.File(folder / "stats.h5", "w") as stream:
        stream["mean"], stream["scale"] = mean, scale
    mel = random_mel()
    with torch.no_grad():
        wave = model.inference(torch.from_numpy((mel - mean) / scale))[:, 0].numpy()
    return folder, mel, wave


def test_parallel_wavegans_format_gives_its_waveform(parallel_wavegan):
    folder, mel, expected = parallel_wavegan
    maker = load_hifigan(folder)
    assert np.abs(expected).max() > 0.01 and len(expected) == 11 * 60
    assert np.allclose(maker(mel, 660), expected, atol=1e-5)
    conf = maker.conf
    assert (conf.sample_rate, conf.n_fft, conf.window, conf.hop, conf.log_base) == (
        24000,
        2048,
        1200,
        60,
        "10",
    )


def test_statistics_may_be_an_array_and_must_be_there(parallel_wavegan):
    folder, mel, expected = parallel_wavegan
    with h5py.File(folder / "stats.h5") as stream:
        values = np.stack([stream["mean"][()], stream["scale"][()]])
    (folder / "stats.h5").unlink()
    with pytest.raises(InputError, match=r"lacks stats\.h5"):
        load_hifigan(folder)
    np.save(folder / "stats.npy", values)
    assert np.allclose(load_hifigan(folder)(mel, 660), expected, atol=1e-5)


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_never_executed(parallel_wavegan, tmp_path):
    folder, _, _ = parallel_wavegan
    with open(folder / "checkpoint-9steps.pkl", "wb") as stream:
        pickle.dump({"model": Trap(tmp_path / "written")}, stream)
    with pytest.raises(InputError, match=r"checkpoint-9steps.pkl"):
        load_hifigan(folder)
    torch.save({"model": Trap(tmp_path / "written")}, folder / "checkpoint-9steps.pkl")
    with pytest.raises(InputError, match=r"holds more than weights and is not unpickled"):
        load_hifigan(folder)
    assert not (tmp_path / "written").exists()


def test_what_does_not_fit_is_named(parallel_wavegan, reference, tmp_path):
    folder, _, _ = parallel_wavegan
    config = yaml.safe_load((folder / "config.yml").read_text())
    for change, message in (
        ({"generator_type": "StyleMelGANGenerator"}, "only HiFiGANGenerator is read"),
        ({"hop_size": 64}, "upsamples 60 times 80 bands, its spectra have a hop of 64"),
        ({"log_base": 2.0}, "log_base 2.0"),
        (
            {"generator_params": {**config["generator_params"], "channels": 32}},
            "does not fit its configuration",
        ),
    ):
        (folder / "config.yml").write_text(yaml.safe_dump({**config, **change}))
        with pytest.raises(InputError, match=message):
            load_hifigan(folder)
    (folder / "other.pkl").write_bytes(b"")
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="2 checkpoints"):
        load_hifigan(folder)
    (tmp_path / "hf" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks model\.safetensors"):
        load_hifigan(tmp_path / "hf")
    with pytest.raises(InputError, match=r"neither config\.json"):
        load_hifigan(tmp_path)
