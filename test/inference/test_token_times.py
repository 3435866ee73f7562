"""Word times: cached prefixes against whole passes, the best path against all paths."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from espnet_sld.errors import InputError
from espnet_sld.inference.audio_tokens import AudioTokenizer
from espnet_sld.inference.long_audio import energies, speech_frames, split_at_pauses
from espnet_sld.inference.token_times import best_path, prefix_scores, time_words, word_bounds, words_of
from espnet_sld.inference.transcript import SpeechTokens

END, START = 20, 21
ALLOWED = [*range(2, 20), END]


@pytest.mark.parametrize("batch_tokens", [16384, 40])
def test_scores_of_prefixes_equal_passes_over_shortened_speech(model, batch_tokens):
    model.requires_grad_(False)
    rng = np.random.default_rng(0)
    speech, text = rng.integers(22, 40, 11), rng.integers(2, 20, 4)
    prefixes = np.array([1, 2, 5, 10, 11])
    prompt = np.append(speech, START)
    log_p, log_end = prefix_scores(model, prompt, 11, text.tolist(), ALLOWED, prefixes, batch_tokens)
    assert log_p.shape == (5, 4) and log_end.shape == (5, 5)
    for row, length in enumerate(prefixes):
        whole = torch.as_tensor(np.concatenate([speech[:length], [START], text]))[None]
        expected = model(whole)[0, length:, ALLOWED].log_softmax(-1).numpy()  # (5, allowed)
        np.testing.assert_allclose(log_end[row], expected[:, -1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(log_p[row], expected[range(4), text - 2], rtol=1e-4, atol=1e-4)


def test_a_model_without_a_roomy_cache_gives_the_same(make_model, monkeypatch):
    """As with sliding windows, whose caches are copied for each part."""
    lm = make_model("llama").requires_grad_(False)
    prompt = np.append(np.random.default_rng(1).integers(22, 40, 11), START)
    options = (lm, prompt, 11, [3, 7, 5], ALLOWED, np.array([1, 2, 5, 10, 11]), 40)
    expected = prefix_scores(*options)
    monkeypatch.setattr("espnet_sld.inference.token_times.roomy_cache", lambda *_: None)
    for one, other in zip(prefix_scores(*options), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_a_start_token_before_the_speech_is_in_every_prefix(make_model, monkeypatch):
    """As in the template `asr`; what comes before the speech is never shortened."""
    lm = make_model("llama").requires_grad_(False)
    speech, text, begin = np.random.default_rng(2).integers(22, 40, 6), [3, 7], 19
    tokens, seen = SpeechTokens("", speech, np.arange(7), 0.1), []
    monkeypatch.setattr(
        "espnet_sld.inference.token_times.word_bounds",
        lambda scores, times: seen.append((scores, times)) or word_bounds(scores, times),
    )
    prompt = np.array([begin, *speech, START])
    names = type("Names", (), {"decode": lambda self, ids: " ".join(map(str, ids))})()
    time_words(lm, names, prompt, 6, tokens, text, text, ALLOWED, np.ones(60, bool), lead=1)
    ((scores, times),) = seen
    np.testing.assert_allclose(times, np.arange(1, 7) * 0.1)
    for row in range(6):
        whole = torch.as_tensor([[begin, *speech[: row + 1], START, *text]])
        log_p = lm(whole)[0, row + 2 :, ALLOWED].log_softmax(-1).numpy()  # (3, allowed)
        words = np.append(0.0, np.cumsum([log_p[0, text[0] - 2], log_p[1, text[1] - 2]]))
        np.testing.assert_allclose(scores[row], words + log_p[:, -1], rtol=1e-4, atol=1e-4)


def test_an_empty_hypothesis_has_the_end_alone(model):
    log_p, log_end = prefix_scores(model, np.array([25, 30, START]), 2, [], ALLOWED, np.array([1, 2]))
    assert log_p.shape == (2, 0) and log_end.shape == (2, 1)


@pytest.mark.parametrize(("times", "states"), [(1, 1), (5, 1), (5, 5), (7, 3)])
def test_the_best_path_is_the_best_of_all(times, states):
    rng = np.random.default_rng(times)
    for _ in range(5):
        scores = rng.normal(size=(times, states))
        path = best_path(scores)
        assert path[0] == 0 and path[-1] == states - 1 and set(np.diff(path)) <= {0, 1}
        values = []
        for cuts in itertools.combinations(range(1, times), states - 1):
            other = np.searchsorted(cuts, np.arange(times), side="right")
            values.append(scores[np.arange(times), other].sum())
        assert scores[np.arange(times), path].sum() == pytest.approx(max(values))
    with pytest.raises(ValueError, match="cannot share"):
        best_path(np.zeros((2, 3)))


def test_a_boundary_lies_between_the_middles_of_two_words():
    times = np.arange(1, 13) * 0.1
    heard = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3])  # words heard at each time
    scores = np.where(np.arange(4) == heard[:, None], 0.0, -5.0) - 40.0 * times[:, None]
    np.testing.assert_allclose(word_bounds(scores, times), [0, 0.45, 0.85, 1.2])
    np.testing.assert_allclose(word_bounds(scores[:, :1], times), [0.0])
    np.testing.assert_allclose(word_bounds(np.zeros((2, 4)), np.array([0.5, 0.9])), [0, 0.3, 0.6, 0.9])


class Letters:
    """Tokens are characters."""

    def decode(self, ids):
        return "".join(chr(index) for index in ids)


@pytest.mark.parametrize(
    ("text", "words", "ends"),
    [
        ("ab c", ["ab", "c"], [3, 4]),
        (" ab  c ", ["ab", "c"], [5, 7]),
        ("", [], []),
        (" ", [], []),
        ("a", ["a"], [1]),
    ],
)
def test_tokens_belong_to_words_and_spaces_to_the_word_before(text, words, ends):
    assert words_of(Letters(), [ord(character) for character in text]) == (words, ends)


def test_a_model_that_counts_is_heard_counting(counting_model):
    """It writes what follows the last speech token, so that nothing is heard before that one."""
    speech = np.array([23, 29, 25, 27])

    class Names:
        def decode(self, ids):
            return " ".join(map(str, ids))

    tokens = SpeechTokens("", speech, np.array([0, 3, 6, 7, 12]), 0.1)
    text = [7, 8, 9]
    loud = np.ones(120, dtype=bool)
    prompt = np.append(speech, START)
    words = time_words(counting_model, Names(), prompt, 4, tokens, text, text, ALLOWED, loud)
    assert [word.text for word in words] == ["7", "8", "9"]
    assert words[0].start == 0 and words[-1].end == pytest.approx(1.2)
    assert all(word.confidence > 0.5 for word in words)
    loud[:50], loud[100:] = False, False
    quiet = time_words(counting_model, Names(), prompt, 4, tokens, text, text, ALLOWED, loud)
    assert min(word.start for word in quiet if word.end > 0.5) >= 0.5 - 1e-9
    assert quiet[-1].end <= 1.2


def test_cuts_lie_in_pauses(librispeech_dir):
    files = sorted(librispeech_dir.rglob("*.flac"))[:5]
    parts = []
    for file in files:
        samples = soundfile.read(file, dtype="float32")[0]
        parts += [samples, np.zeros(12800, np.float32)]  # 0.8 s
    wave = np.concatenate(parts)
    longest = max(len(part) for part in parts) / 16000
    pieces = split_at_pauses(wave, 16000, longest + 1)
    assert all(end - start <= (longest + 1) * 16000 for start, end in pieces)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(pieces))
    loud = speech_frames(energies(wave, 16000))
    inside = np.zeros(len(wave), dtype=bool)
    for start, end in pieces:
        inside[start:end] = True
    lost = ~inside[np.minimum(np.flatnonzero(loud) * 160 + 200, len(wave) - 1)]
    assert not lost.any()  # all speech is in a piece
    for start, end in pieces[:-1]:  # every cut is in silence: no loud frame within 30 ms
        frame = end // 160
        assert not loud[max(0, frame - 3) : frame + 3].any(), (start, end)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.0])
def test_pieces_of_noise_tile_it(seconds):
    wave = np.random.default_rng(0).normal(0, 0.1, 16000 * 9).astype(np.float32)
    pieces = split_at_pauses(wave, 16000, seconds)
    assert pieces[0][0] == 0 and pieces[-1][1] == len(wave)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))
    assert all(seconds / 3 - 0.02 <= (end - start) / 16000 <= seconds for start, end in pieces)


def test_silence_has_no_pieces_and_no_speech():
    assert split_at_pauses(np.zeros(48000, np.float32), 16000, 1.0) == []
    assert not speech_frames(energies(np.zeros(100, np.float32), 16000)).any()
    with pytest.raises(ValueError, match="at least"):
        split_at_pauses(np.zeros(48000, np.float32), 16000, 0.05)


def test_energy_is_that_of_the_frames():
    wave = np.random.default_rng(1).normal(0, 0.2, 4000).astype(np.float32) + 0.5  # an offset is no sound
    levels = energies(wave, 16000)
    centred = wave.astype(np.float64) - wave.mean(dtype=np.float64)
    expected = [10 * np.log10(np.mean(centred[t * 160 : t * 160 + 400] ** 2)) for t in range(23)]
    np.testing.assert_allclose(levels, expected, rtol=1e-9)


def test_an_unknown_case_is_refused():
    with pytest.raises(InputError, match="unit case 'xx'"):
        AudioTokenizer(None, None, None, "xx")
