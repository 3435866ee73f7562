#!/usr/bin/env bash
# Studies on synthetic commands: ./run_studies.sh --study alpha|temperature|table --seeds "0 1 2" [-- options of run.sh].
set -euo pipefail
. ./path.sh
exec "${MAIN_ROOT}/egs/TEMPLATE/study.sh" --asr_config conf/train.yaml --study_dir exp/study "$@"
