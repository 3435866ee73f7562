# shellcheck shell=bash
# This recipe's own options, and what follows from them; read by the driver after its own.
# train_set, dev_set, test_sets, decode_sets and asr_config follow from these unless they are given.

# begin options
# -- LibriSpeech
librispeech_dir=          # the folder that holds SPEAKERS.TXT, or its parent; default: download
download_dir=downloads    # where downloaded archives and what is in them go
data_url=                 # where the archives are; default: openslr.org's
md5_file=                 # checksums of a mirror's own archives; default: the published ones
remove_archives=false     # delete archives that are unpacked
train_parts="train-clean-100 train-clean-360 train-other-500"  # joined to train_960
dev_parts="dev-clean dev-other"  # joined to dev; everything is chosen on it
dev_last=                 # choose on the last N utterances of dev_parts only (the paper's released code: 1215
                          # with --dev_parts dev-other); default: all
test_parts="dev-clean dev-other test-clean test-other"  # decoded and scored
text_case=lower           # lower, as the paper; upper, as the corpus has it
variant=librispeech_960   # librispeech_100: train-clean-100 alone, in folders of its own
# end options
train_set= dev_set= test_sets= asr_config=

# part names -> the name of their union
_set_name() {
  case "$1" in
    "train-clean-100 train-clean-360 train-other-500") echo train_960 ;;
    "train-clean-100 train-clean-360") echo train_460 ;;
    "dev-clean dev-other") echo dev ;;
    *) local joined=${1//-/_}; echo "${joined// /_}" ;;
  esac
}

# the corpus and its sets
derive_corpus() {
  local part parts text
  case ${variant} in
    librispeech_960) ;;
    librispeech_100)
      train_parts=train-clean-100
      # a corpus of its own, so that neither replaces the other's units
      [ "${datadir}" != data ] || datadir=data_librispeech_100
      [ "${dumpdir}" != dump ] || dumpdir=dump_librispeech_100
      [ "${expdir}" != exp ] || expdir=exp_librispeech_100
      ;;
    *) die "--variant ${variant}: must be librispeech_960 or librispeech_100" ;;
  esac
  for parts in train_parts dev_parts test_parts; do     # one space between, none around
    text=${!parts}
    read -ra part <<< "${text//,/ }"
    [ "${#part[@]}" -gt 0 ] || die "--${parts}: names no part; see --help"
    printf -v "${parts}" '%s' "${part[*]}"
  done
  : "${train_set:=$(_set_name "${train_parts}")}"
  local union=${dev_set:-$(_set_name "${dev_parts}")}
  dev_set=${union}${dev_last:+_last${dev_last}}
  if [ -z "${test_sets}" ]; then
    test_sets=${test_parts//-/_}
    # the union dev is not decoded beside its parts
    [[ ${dev_set} != dev || " ${test_sets} " != *" dev_clean dev_other "* ]] || : "${decode_sets:=${test_sets}}"
  fi
  corpus_opts="${librispeech_dir:+--librispeech_dir '${librispeech_dir}'} --download_dir '${download_dir}'\
 ${data_url:+--data_url '${data_url}'} ${md5_file:+--md5_file '${md5_file}'}\
 --remove_archives ${remove_archives} --train_parts '${train_parts}' --train_set ${train_set}\
 --dev_parts '${dev_parts}' --dev_set ${union} ${dev_last:+--dev_last ${dev_last}}\
 --test_parts '${test_parts}' --case ${text_case} ${corpus_opts}"
}

derive_options() {
  local front_end row
  derive_corpus
  if [ -z "${asr_config}" ]; then
    front_end=${kmeans_feature%/*}; front_end=${front_end##*/}
    case ${front_end} in hubert*) front_end=hubert ;; *) front_end=wavlm ;; esac
    case ${objective} in matched | ce_weighted) row=sld ;; *) row=${objective} ;; esac
    asr_config=conf/train_${row}_${front_end}.yaml
  fi
}
