#!/usr/bin/env bash
# interAED-KD (arXiv 2401.11700) on LibriSpeech: a Conformer on filterbanks, 960 h, 8 GPUs; sizes are ours (README.md).
# --variant librispeech_100: train-clean-100 alone. --input units: discrete units instead of filterbanks.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/ctc_kd.sh" \
  --ngpu 8 \
  --nj 32 \
  --speed_perturb_factors "0.9 1.0 1.1" \
  --input fbank \
  --kmeans_feature mfcc \
  --kmeans_feature_conf "frame_shift_ms=20" \
  --nclusters 500 \
  --kmeans_max_frames 2000000 \
  --unit_case rm \
  --text_token_type unigram \
  --max_positions 4096 \
  --bert_conf "hidden_size=512 num_hidden_layers=8 num_attention_heads=8 intermediate_size=2048" \
  --teacher_conf "max_steps=30000 warmup_steps=3000 batch_tokens=32768 lr=0.0005 eval_interval=1000" \
  "$@"
