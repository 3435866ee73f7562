#!/usr/bin/env bash
# A variant of ours, meant to beat the paper's: see conf/tuning/train_modern.yaml for each difference.
# The small one: ./run_modern.sh --asr_config conf/tuning/train_modern_small.yaml
set -euo pipefail

./run.sh \
  --kmeans_feature wavlm_large/21 \
  --unit_case rm \
  --unit_token_type bpe \
  --text_token_type bpe \
  --text_nbpe 5000 \
  --backbone "" \
  --asr_config conf/tuning/train_modern.yaml \
  "$@"
