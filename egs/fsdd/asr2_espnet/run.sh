#!/usr/bin/env bash
# Stock ESPnet (E-Branchformer, CTC and attention) on our units of recorded digits: the comparison system.
# --fsdd_dir DIR: the folder that holds recordings/; without it the public repository is cloned.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/asr2_espnet.sh" \
  --train_set train \
  --dev_set dev \
  --test_sets "test_isolated test_strings test_strings_once test_speaker" \
  --kmeans_feature mfcc \
  --speed_perturb_factors "0.9 1.0 1.1" \
  --kmeans_feature_conf "frame_shift_ms=40 high_freq=4000 normalisation=none" \
  --nclusters 300 \
  --unit_case ts \
  --text_token_type word \
  "$@"
