#!/usr/bin/env bash
# Stage 1: LibriSpeech, from --librispeech_dir or downloaded; see espnet_sld.bin.prepare_librispeech --help.
# --dev_last N: also the set <dev set>_last<N>, the dev set's last N utterances in the order of their ids.
set -euo pipefail

options=() data_dir=data dev_set=dev dev_last=
while [ $# -gt 0 ]; do
  case $1 in
    --dev_last) dev_last=$2; shift 2; continue ;;
    --data_dir) data_dir=$2 ;;
    --dev_set) dev_set=$2 ;;
  esac
  options+=("$1" "$2"); shift 2
done
python3 -m espnet_sld.bin.prepare_librispeech --nj "${nj:-8}" "${options[@]}"
if [ -n "${dev_last}" ]; then
  list=$(mktemp)
  trap 'rm -f "${list}"' EXIT
  tail -n "${dev_last}" "${data_dir}/${dev_set}/text" > "${list}"
  python3 -m espnet_sld.bin.data_dir subset "${data_dir}/${dev_set}" "${data_dir}/${dev_set}_last${dev_last}" \
    --utt_list "${list}"
fi
