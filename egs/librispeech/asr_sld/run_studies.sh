#!/usr/bin/env bash
# The SLD paper's studies, trained as far as they are not there, with tables and plots:
#   ./run_studies.sh --study table         Table 1 (TABLE1.md beside study_dir, the paper's figures beside ours) and Fig. 3
#   ./run_studies.sh --study alpha         Fig. 2: α with HuBERT units, as the paper
#   ./run_studies.sh --study temperature   the temperature T, a study the paper lacks
# --frontends "wavlm hubert" chooses the units, --hubert and --wavlm their features; all other options are those of
# egs/TEMPLATE/study.sh (--help lists them); options of run.sh follow after --. Run it again to resume.
set -euo pipefail
. ./path.sh

study=alpha frontends= wavlm=wavlm_large/23 hubert=hubert_large_ll60k/23 study_dir=exp/study report=() options=()
while [ $# -gt 0 ]; do
  case $1 in
    --frontends=* | --wavlm=* | --hubert=* | --study_dir=* | --study=* | --report=* | --dry_run=*)
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      ;;
  esac
  case $1 in
    --report | --dry_run)                    # alone it means true
      case ${2-} in
        true | false) options+=("$1" "$2"); shift 2 ;;
        *) options+=("$1" true); shift ;;
      esac
      ;;
    --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; echo; options+=("$1"); shift ;;
    --frontends | --wavlm | --hubert | --study_dir) printf -v "${1#--}" '%s' "${2:?$1 needs a value}"; shift 2 ;;
    --study) study=${2:?$1 needs a value}; shift 2 ;;
    --) shift; break ;;
    *) options+=("$1"); shift ;;
  esac
done
# In a function, so that bash has read it all before it begins: the file may change while it runs.
main() {
  local frontend feature folder sets="dev_clean dev_other"
  if [ "${study}" = table ]; then
    sets+=" test_clean test_other"
    : "${frontends:=wavlm hubert}"
  fi
  for frontend in ${frontends:-hubert}; do
    folder=${study_dir}_${frontend}
    case ${frontend} in
      wavlm) feature=${wavlm} ;;
      hubert) feature=${hubert} ;;
      *) echo "run_studies.sh: error: --frontends ${frontend}: must be wavlm or hubert" >&2; exit 1 ;;
    esac
    if [[ " ${options[*]-} " == *" --report true "* ]] && [ ! -d "${folder}" ]; then
      echo "run_studies.sh: ${frontend}: not run (no ${folder})" >&2
      continue
    fi
    # chosen on dev-other alone, as the paper (which took the last 1215 utterances: -- --dev_last 1215)
    "${MAIN_ROOT}/egs/TEMPLATE/study.sh" --study "${study}" --study_dir "${folder}" \
      --asr_config "conf/train_{objective}_${frontend}.yaml" --decode_sets "${sets}" --margin 0.1 \
      ${options[@]+"${options[@]}"} -- --kmeans_feature "${feature}" --dev_parts dev-other "$@"
    [ ! -d "${folder}" ] || report+=("${frontend}=${folder}")
  done
  if [ "${study}" = table ] && [[ " ${options[*]-} " != *" --dry_run true "* ]]; then
    python3 -m espnet_sld.bin.paper_table --runs ${report[@]+"${report[@]}"} --out "${study_dir%/*}/TABLE1.md"
  fi
}
main "$@"
exit
