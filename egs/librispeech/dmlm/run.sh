#!/usr/bin/env bash
# DMLM (arXiv 2406.06582) on LibriSpeech: OPT-125M, k-means on Whisper's final encoder layer, recognition and synthesis.
# Translation and captions: data sets of your own in conf/mixture.yaml (README.md).
set -euo pipefail
. ./path.sh

"${MAIN_ROOT}/egs/TEMPLATE/dmlm.sh" \
  --ngpu 8 \
  --nj 32 \
  --kmeans_feature whisper_large_v2/32 \
  --kmeans_feature_conf "final_norm=true precision=fp16" \
  --frontend_backend transformers \
  --nclusters 2000 \
  --kmeans_hours 100 \
  --kmeans_max_frames 2000000 \
  --unit_case rm \
  --unit_token_type unit \
  --text_token_type hf \
  --text_nbpe 5000 \
  --backbone facebook/opt-125m \
  --max_positions 2048 \
  --max_text 150 \
  --translate "" \
  --st_sets none \
  --images "" \
  --tts_sets "test_clean" \
  --vocoder_args "--hours 20" \
  --listener_config "" \
  "$@"
