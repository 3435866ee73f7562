#!/usr/bin/env bash
# Commands and numbers in synthetic voices: nothing is downloaded. SLD unless --objective says otherwise.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/asr_sld.sh" \
  --train_set train \
  --dev_set dev \
  --test_sets "test test_voices" \
  --corpus_opts "--num_train 6000" \
  --kmeans_feature mfcc \
  --kmeans_feature_conf "frame_shift_ms=20" \
  --nclusters 200 \
  --unit_case rm \
  --unit_token_type unit \
  --text_token_type word \
  --max_positions 512 \
  --max_text 32 \
  "$@"
