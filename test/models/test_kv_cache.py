"""The cache with room gives what Hugging Face's own gives, whatever rows come, go and move."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.kv_cache import RoomyLayer, roomy_cache, rows_that_stay


def states(rows: int, places: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 2, places, 3, generator=generator) for _ in range(2))


@pytest.mark.parametrize("room", [(3, 20), (1, 1)], ids=["roomy", "too-small"])
def test_a_row_keeps_its_values_through_growth_selection_and_repetition(room):
    ours, theirs = RoomyLayer(*room), DynamicCache().layer_class_to_replicate()
    changes = [
        lambda layer: layer.update(*states(3, 4, 1)),
        lambda layer: layer.batch_select_indices(torch.tensor([0, 2])),
        lambda layer: layer.update(*states(2, 1, 2)),
        lambda layer: layer.batch_select_indices(torch.tensor([1, 0, 1, 1])),
        lambda layer: layer.update(*states(4, 1, 3)),
        lambda layer: layer.batch_repeat_interleave(2),
        lambda layer: layer.crop(-1),
        lambda layer: layer.reorder_cache(torch.tensor([5, 1, 0])),
        lambda layer: layer.update(*states(3, 30, 4)),
    ]
    for change in changes:
        change(ours)
        change(theirs)
        assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)
        assert ours.get_seq_length() == theirs.get_seq_length()
    ours.reset()
    assert ours.keys is None and ours.get_seq_length() == 0


def test_cropping_is_as_hugging_faces_at_the_edges():
    ours, theirs = RoomyLayer(3, 20), DynamicCache().layer_class_to_replicate()
    for layer in (ours, theirs):
        layer.crop(-2)  # nothing is there yet
        assert layer.get_seq_length() == 0
        layer.update(*states(3, 4, 1))
        layer.crop(0)
        assert layer.get_seq_length() == 4
        with pytest.raises(ValueError, match=r"positive|negative"):
            layer.crop(2)
        layer.crop(-9)
        assert layer.get_seq_length() == 0
        layer.update(*states(3, 2, 2))
    assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)


def test_rows_put_in_turn_are_zero_where_they_are_short():
    layer, (long, _), (short, _) = RoomyLayer(4, 5), states(1, 4, 1), states(2, 2, 2)
    layer.put(1, short, short, 3)
    layer.put(0, long, long, 4)
    layer.put(3, short[:1], short[:1], 4)
    expected = torch.zeros(4, 2, 4, 3)
    expected[0], expected[1:3, :, :2], expected[3, :, :2] = long[0], short, short[0]
    assert torch.equal(layer.keys, expected) and torch.equal(layer.values, expected)


def test_a_step_writes_one_place_and_moves_nothing():
    layer = RoomyLayer(3, 10)
    layer.update(*states(3, 4, 1))
    before = layer.keys.data_ptr()
    layer.update(*states(3, 1, 2))
    layer.batch_select_indices(rows_that_stay(torch.tensor([0, 2])))
    assert layer.keys.data_ptr() == before and layer.keys.shape == (2, 2, 5, 3)


@pytest.mark.parametrize(
    ("keep", "order"), [([0, 2, 3, 4], [0, 4, 2, 3]), ([3, 4], [3, 4]), ([0, 1], [0, 1]), ([1], [1])]
)
def test_rows_that_stay_are_the_rows_to_keep_with_few_moved(keep, order):
    assert rows_that_stay(torch.tensor(keep)).tolist() == order


@pytest.mark.parametrize("chunk", [1, 12, 1024])
def test_prompts_read_in_parts_give_the_states_of_prompts_read_one_by_one(chunk, monkeypatch):
    monkeypatch.setattr("espnet_sld.models.decoder_only.CHUNK", chunk)
    monkeypatch.setattr(DecoderOnlyLM, "_quick_decoder", lambda self, places: None)
    torch.manual_seed(0)
    conf = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = DecoderOnlyLM(build_backbone(None, conf, 30, max_positions=64, dropout=0.0), 0).eval()
    lengths = torch.tensor([9, 6, 6, 2])
    tokens = torch.randint(1, 30, (4, 9)) * (torch.arange(9) < lengths[:, None])
    with torch.inference_mode():
        hidden, state = model.prefill(tokens, lengths, steps=3)
        for _ in range(4):  # one more than there is room for
            hidden = model.step(torch.tensor([3, 4, 5, 6]), state)
        for row, length in enumerate(lengths.tolist()):
            alone = torch.cat([tokens[row, :length], torch.tensor([3 + row] * 4)])
            torch.testing.assert_close(hidden[row], model.hidden(alone[None])[0, -1], rtol=1e-4, atol=1e-5)


def test_a_model_with_sliding_windows_keeps_hugging_faces_cache():
    assert roomy_cache(MistralConfig(sliding_window=8, num_hidden_layers=2), 1, 1) is None
    assert len(roomy_cache(LlamaConfig(num_hidden_layers=2), 1, 1).layers) == 2
