#!/usr/bin/env bash
# The SLD paper's system (arXiv 2311.04534) on LibriSpeech: WavLM-large units, GPT-2 medium, 960 h, 8 GPUs.
# README.md says what each option stands for; run_modern.sh is a variant of ours.
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/asr_sld.sh" \
  --ngpu 8 \
  --nj 32 \
  --speed_perturb_factors "0.9 1.0 1.1" \
  --kmeans_feature wavlm_large/23 \
  --frontend_backend s3prl \
  --nclusters 2000 \
  --kmeans_hours 100 \
  --kmeans_max_frames 2000000 \
  --unit_case ts \
  --unit_token_type unigram \
  --unit_nbpe 6000 \
  --text_token_type hf \
  --text_nbpe 5000 \
  --backbone openai-community/gpt2-medium \
  --max_positions 1024 \
  --max_text 150 \
  --objective sld \
  "$@"
