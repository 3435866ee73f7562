"""DALL-E's dVAE from a state dict of the published layout, with small random weights."""

import inspect
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from espnet_sld.errors import InputError
from espnet_sld.images.dalle import Decoder, Encoder
from espnet_sld.images.quantiser import load_quantiser

HIDDEN, INITIAL, VOCABULARY, SIZE = 8, 6, 24, 16


def published_layout(decoder: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the published networks have them, two blocks in each of four groups."""
    widths = [HIDDEN * f for f in ((8, 4, 2, 1) if decoder else (1, 2, 4, 8))]
    kernels = (1, 3, 3, 3) if decoder else (3, 3, 3, 1)
    shapes = {"blocks.input": (INITIAL, VOCABULARY, 1) if decoder else (HIDDEN, 3, 7)}
    before = INITIAL if decoder else HIDDEN
    for group, width in enumerate(widths, 1):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            if before != width:
                shapes[f"{name}.id_path"] = (width, before, 1)
            ins = (before, width // 4, width // 4, width // 4)
            outs = (width // 4, width // 4, width // 4, width)
            for i in range(4):
                shapes[f"{name}.res_path.conv_{i + 1}"] = (outs[i], ins[i], kernels[i])
            before = width
    shapes["blocks.output.conv"] = (6 if decoder else VOCABULARY, before, 1)
    result = {}
    for name, (out, into, kernel) in shapes.items():
        result |= {f"{name}.w": (out, into, kernel, kernel), f"{name}.b": (out,)}
    return result


def weights(decoder: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(int(decoder))
    return {
        name: torch.randn(shape, generator=generator)
        * (0.5 if len(shape) == 1 else shape[1:].numel() ** -0.5)
        for name, shape in ((n, torch.Size(s)) for n, s in published_layout(decoder).items())
    }


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "quantiser.json").write_text(f'{{"kind": "dalle_dvae", "image_size": {SIZE}}}')
    save_file(weights(False), tmp_path / "encoder.safetensors")
    save_file(weights(True), tmp_path / "decoder.safetensors")
    return tmp_path


def run(state: dict[str, torch.Tensor], x: torch.Tensor, decoder: bool) -> torch.Tensor:
    """The network in float64, layer by layer, from the state dict alone."""

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        w = state[f"{name}.w"].double()
        return F.conv2d(x, w, state[f"{name}.b"].double(), padding=(w.shape[2] - 1) // 2)

    x = conv("blocks.input", x.double())
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            y = x
            for i in (1, 2, 3, 4):
                y = conv(f"{name}.res_path.conv_{i}", y.clamp(min=0))
            x = (conv(f"{name}.id_path", x) if f"{name}.id_path.w" in state else x) + y / 64
        if group < 4:
            x = F.interpolate(x, scale_factor=2, mode="nearest") if decoder else F.max_pool2d(x, 2)
    return conv("blocks.output.conv", x.clamp(min=0))


def test_the_published_networks_have_their_names_and_numbers_of_parameters():
    encoder, decoder = Encoder(HIDDEN, VOCABULARY), Decoder(HIDDEN, INITIAL, VOCABULARY)
    for module, is_decoder in ((encoder, False), (decoder, True)):
        assert {n: tuple(p.shape) for n, p in module.state_dict().items()} == published_layout(is_decoder)


def test_the_published_sizes_are_the_defaults():
    encoder, decoder = (inspect.signature(c).parameters for c in (Encoder, Decoder))
    assert [encoder[n].default for n in ("hidden", "vocabulary", "blocks", "channels")] == [256, 8192, 2, 3]
    assert [decoder[n].default for n in ("hidden", "initial", "vocabulary")] == [256, 128, 8192]


def test_tokens_are_the_largest_logits_of_the_network_in_float64(directory):
    quantiser = load_quantiser(directory)
    assert quantiser.grid == (2, 2) and quantiser.codebook_size == VOCABULARY
    images = np.random.default_rng(0).random((6, SIZE, SIZE, 3), dtype=np.float32)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() * 0.8 + 0.1
    logits = run(weights(False), x, decoder=False)
    assert np.array_equal(quantiser.encode(images), logits.argmax(dim=1).flatten(1).numpy())
    assert len(np.unique(quantiser.encode(images))) > 1
    ours = quantiser.encoder(x.float()).double()
    assert torch.allclose(ours, logits, rtol=1e-4, atol=1e-4 * float(logits.std()))


def test_reconstruction_is_the_decoders_location(directory):
    quantiser = load_quantiser(directory)
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (3, 4))
    hot = torch.zeros(3, VOCABULARY, 2, 2, dtype=torch.float64)
    for n in range(3):
        for place in range(4):
            hot[n, tokens[n, place], place // 2, place % 2] = 1
    location = run(weights(True), hot, decoder=True)[:, :3]
    expected = ((1 / (1 + torch.exp(-location)) - 0.1) / 0.8).clamp(0, 1).permute(0, 2, 3, 1)
    found = quantiser.decode(tokens)
    assert found.shape == (3, SIZE, SIZE, 3)
    assert np.allclose(found, expected.numpy(), atol=1e-5)
    assert not math.isclose(found.min(), found.max())


def test_without_a_decoder_images_can_still_be_encoded(directory):
    (directory / "decoder.safetensors").unlink()
    quantiser = load_quantiser(directory)
    assert quantiser.encode(np.zeros((1, SIZE, SIZE, 3), np.float32)).shape == (1, 4)
    with pytest.raises(InputError, match=r"has no decoder\.safetensors"):
        quantiser.decode(np.zeros((1, 4), np.int64))


def test_other_weights_are_refused_and_named(directory):
    with pytest.raises(InputError, match="no device 'gpu'"):
        load_quantiser(directory, "gpu")
    state = weights(False)
    state.pop("blocks.group_2.block_1.id_path.b")
    save_file(state, directory / "encoder.safetensors")
    with pytest.raises(InputError, match=r"(?s)encoder.safetensors: not the state dict .*id_path.b"):
        load_quantiser(directory)
    (directory / "encoder.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_quantiser(directory)
    (directory / "encoder.safetensors").unlink()
    with pytest.raises(InputError, match="no such file; save the published"):
        load_quantiser(directory)
