#!/usr/bin/env bash
# Translations of a set's transcripts: digit words, word by word.
exec python3 -m espnet_sld.bin.translate_numbers "$@"
