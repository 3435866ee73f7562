# shellcheck shell=bash
# LibriSpeech's options, as the SLD recipe has them.
recipe_options=${MAIN_ROOT}/egs/librispeech/asr_sld/local/options.sh
. "${recipe_options}"

derive_options() { derive_corpus; }
