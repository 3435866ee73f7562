"""Package metadata. Ranges live here; exact versions live in tools/{cpu,gpu}.lock."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = {}
exec((HERE / "espnet_sld" / "version.py").read_text(encoding="utf-8"), VERSION)

EXTRAS = {
    # The embedded default corpus: libespeak-ng (GPL-3) inside a wheel, see NOTICE.
    "mini": ["espeakng-loader>=0.2.4"],
    # The SSL front-ends through s3prl's own experts.
    "s3prl": ["s3prl>=0.4.18"],
    # BLEU for translation tasks.
    "translation": ["sacrebleu>=2.4"],
    "test": ["pytest>=8", "ruff>=0.9"],
}
EXTRAS["all"] = sorted({package for group in EXTRAS.values() for package in group})

setup(
    name="espnet_sld",
    version=VERSION["__version__"],
    description="Decoder-only speech recognition on discrete tokens: recipes and toolkit",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["espnet_sld", "espnet_sld.*"]),
    package_data={"espnet_sld.scoring.report": ["*.css", "*.js", "*.json"]},
    install_requires=[
        "torch>=2.13",
        "espnet==202511",
        "transformers>=5.23,<6",
        "numpy>=2.0",
        "scikit-learn>=1.5",
        "joblib>=1.3",
        "safetensors>=0.4",
        "sentencepiece>=0.2.0",
        "kaldiio>=2.18",
        "kaldi-native-fbank>=1.22",
        "soundfile>=0.13",
        "soxr>=1.0",
        "jiwer>=4.0",
        "rapidfuzz>=3",
        "pyyaml>=6",
        "matplotlib>=3.9",
        "pillow>=10",
        "tensorboard>=2.16",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["espnet-sld-transcribe=espnet_sld.bin.transcribe:entry"]},
)
