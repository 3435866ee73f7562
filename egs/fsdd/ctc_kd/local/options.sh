# shellcheck shell=bash
# This recipe's own options, and what follows from them; read by the driver after its own.
# test_sets follows from digit_order unless it is given.

# begin options
# -- Free Spoken Digit Dataset
fsdd_dir=                 # the folder that holds recordings/; default: the public repository is cloned
digit_order=uniform       # uniform: strings of 1-5 digits, as egs/fsdd/asr_sld | trigram: 5-8 digits by a grammar of
                          # perplexity under 4 | control: 5-8 uniform digits. The last two in folders of their own
# end options
test_sets=

derive_options() {
  local folder
  case ${digit_order} in
    uniform) : "${test_sets:=test_isolated test_strings test_strings_once test_speaker}" ;;
    trigram) : "${test_sets:=test_trigram test_uniform}" ;;
    control) : "${test_sets:=test_uniform}" ;;
    *) die "--digit_order ${digit_order}: must be uniform, trigram or control" ;;
  esac
  if [ "${digit_order}" != uniform ]; then  # a corpus of its own, so that neither replaces the other's units
    for folder in data dump exp; do
      local option=${folder}dir
      [ "${!option}" != "${folder}" ] || printf -v "${option}" '%s' "${folder}_${digit_order}"
    done
  fi
  corpus_opts="${fsdd_dir:+--fsdd_dir '${fsdd_dir}'} --order ${digit_order} ${corpus_opts}"
}
