"""Corpora: Kaldi data directories, audio reading, speed perturbation, and one module a corpus.

`data_dir` reads and writes directories, `checks` (on `tables`) names everything wrong with one, `repair`
drops what cannot be used, `partition` makes subsets, shards and unions, `statistics` counts. `audio` (on
`sources`) turns an entry of `wav.scp` into 16 kHz samples, `speed` makes the speed-perturbed sets.
`synthetic` (with `grammar` and `espeak`) is the embedded default corpus, `fsdd` the Free Spoken Digit
Dataset; both write wavs by `wav`. `librispeech` downloads (`download`, `checksums`, `disk`, `archive`) and
reads (`librispeech_parts`) LibriSpeech.
"""
