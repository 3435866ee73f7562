#!/usr/bin/env bash
# Commands and numbers in synthetic voices: a parallel CTC recogniser taught by a masked LM (interAED-KD).
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/ctc_kd.sh" \
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
  --bert_conf "hidden_size=128 num_hidden_layers=3 num_attention_heads=4 intermediate_size=512
    max_position_embeddings=64 hidden_dropout_prob=0.1 attention_probs_dropout_prob=0.0" \
  --teacher_conf "max_steps=2000 warmup_steps=200 batch_tokens=1024 lr=0.001 eval_interval=250" \
  "$@"
