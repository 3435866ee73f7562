# shellcheck shell=bash
# LibriSpeech's options, as the SLD recipe has them, and what follows from them; read by the driver after its own.
# train_set, dev_set, test_sets, decode_sets, ctc_config and text_nbpe follow from these unless they are given.
recipe_options=${MAIN_ROOT}/egs/librispeech/asr_sld/local/options.sh
. "${recipe_options}"
ctc_config= text_nbpe=

derive_options() {
  case ${variant} in
    librispeech_960) : "${ctc_config:=conf/train_960h.yaml}" "${text_nbpe:=1000}" ;;
    librispeech_100) : "${ctc_config:=conf/train_100h.yaml}" "${text_nbpe:=300}" ;;
  esac
  derive_corpus                            # refuses other variants
}
