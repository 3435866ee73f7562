# shellcheck shell=bash
# LibriSpeech's options, as the SLD recipe has them.
objective=sld  # that recipe's, of no use here
recipe_options=${MAIN_ROOT}/egs/librispeech/asr_sld/local/options.sh
. "${recipe_options}"
