#!/usr/bin/env bash
# Stage 1: LibriSpeech, from --librispeech_dir or downloaded; see espnet_sld.bin.prepare_librispeech --help.
exec python3 -m espnet_sld.bin.prepare_librispeech --nj "${nj:-8}" "$@"
