#!/usr/bin/env bash
# Stage 1: LibriSpeech, as the SLD recipe prepares it.
exec "${MAIN_ROOT}/egs/librispeech/asr_sld/local/data.sh" "$@"
