#!/usr/bin/env bash
# Stock ESPnet (E-Branchformer, CTC and attention) on our units of synthetic commands: the comparison system.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/asr2_espnet.sh" \
  --train_set train \
  --dev_set dev \
  --test_sets "test test_voices" \
  --corpus_opts "--num_train 6000" \
  --kmeans_feature mfcc \
  --kmeans_feature_conf "frame_shift_ms=20" \
  --nclusters 200 \
  --unit_case rm \
  --text_token_type word \
  "$@"
