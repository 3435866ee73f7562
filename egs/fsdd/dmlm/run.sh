#!/usr/bin/env bash
# Recorded digits, handwritten digits and number words in two languages: one model for recognition, synthesis,
# translation and captions. --fsdd_dir DIR: the folder that holds recordings/; without it the repository is cloned.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/dmlm.sh" \
  --train_set train \
  --dev_set dev \
  --test_sets "test_strings test_isolated" \
  --kmeans_feature mfcc \
  --speed_perturb_factors "0.9 1.0 1.1" \
  --kmeans_feature_conf "frame_shift_ms=40 high_freq=4000 normalisation=none" \
  --nclusters 300 \
  --unit_case ts \
  --unit_token_type unit \
  --text_token_type word \
  --max_positions 512 \
  --max_text 16 \
  --target_lang de \
  --vocoder_args "--hours 1 --steps 400 --batch 16" \
  --pretrain_mixture conf/pretrain_mixture.yaml \
  --pretrain_args "--batch_bins 1500 --num_iters_per_epoch 450 --max_epoch 4 --keep_nbest_models 1 --optim_conf lr=0.005 --criterion_conf lambda_text=0.0" \
  "$@"
