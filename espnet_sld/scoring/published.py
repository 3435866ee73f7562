"""What the SLD paper (arXiv 2311.04534) and others publish on LibriSpeech, to stand beside our own figures.

WER in percent on dev-clean, dev-other, test-clean, test-other.
"""

from collections.abc import Mapping

Wers = tuple[float, float, float, float]
SETS = ("dev_clean", "dev_other", "test_clean", "test_other")

# Table 1, rows i–v by objective, for each of the paper's two front-ends.
TABLE1: Mapping[str, Mapping[str, Wers]] = {
    "wavlm": {
        "none": (3.2, 7.1, 3.3, 7.0),
        "ce": (3.2, 7.2, 3.3, 7.2),
        "label_smoothing": (3.1, 7.0, 3.1, 6.9),
        "kl": (3.0, 6.8, 3.1, 6.7),
        "sld": (2.9, 6.6, 3.0, 6.7),
    },
    "hubert": {
        "none": (2.9, 6.2, 3.0, 6.6),
        "ce": (2.8, 6.1, 2.8, 6.4),
        "label_smoothing": (2.8, 6.3, 3.0, 6.6),
        "kl": (2.8, 6.0, 3.0, 6.4),
        "sld": (2.6, 5.8, 2.7, 6.1),
    },
}
GROUPS = {"wavlm": "GPT-2 medium, WavLM-large units", "hubert": "GPT-2 medium, HuBERT-large units"}

# Other systems: (name, source, WERs).
REFERENCES: tuple[tuple[str, str, Wers], ...] = (
    ("E-Branchformer, FBank", "arXiv 2311.04534, Table 1", (2.5, 6.3, 2.6, 6.2)),
    ("E-Branchformer, WavLM continuous", "arXiv 2311.04534, Table 1", (1.9, 3.9, 2.0, 4.0)),
    ("E-Branchformer, WavLM units", "arXiv 2311.04534, Table 1", (2.9, 6.8, 3.0, 7.0)),
    (
        "E-Branchformer, WavLM-large 21, km2000, 6000 pieces, beam + CTC 0.3",
        "ESPnet egs2/librispeech/asr2/README.md",
        (2.2, 4.5, 2.4, 4.6),
    ),
)

# Section 4.2: t-tests of SLD (significant difference: on which sets), for both front-ends.
SIGNIFICANT: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sld", "none"): SETS,
    ("sld", "ce"): ("dev_other", "test_other"),
}
# Section 4.2: two runs with SLD differ by less than this on all sets (points).
TWO_RUNS = 0.1
