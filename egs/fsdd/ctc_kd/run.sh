#!/usr/bin/env bash
# Recorded digits (Free Spoken Digit Dataset): a parallel CTC recogniser taught by a masked LM (interAED-KD).
# --fsdd_dir DIR: the folder that holds recordings/; without it the public repository is cloned.
# --digit_order trigram: strings whose digits follow a grammar, so that a language model has something to teach.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/ctc_kd.sh" \
  --train_set train \
  --dev_set dev \
  --kmeans_feature mfcc \
  --speed_perturb_factors "0.9 1.0 1.1" \
  --kmeans_feature_conf "frame_shift_ms=40 high_freq=4000 normalisation=none" \
  --nclusters 300 \
  --unit_case ts \
  --unit_token_type unit \
  --unit_subsampling 2 \
  --text_token_type word \
  --max_positions 512 \
  --bert_conf "hidden_size=96 num_hidden_layers=3 num_attention_heads=4 intermediate_size=384
    max_position_embeddings=64 hidden_dropout_prob=0.05 attention_probs_dropout_prob=0.0" \
  --teacher_conf "max_steps=2000 warmup_steps=200 batch_tokens=1024 lr=0.001 eval_interval=250" \
  "$@"
