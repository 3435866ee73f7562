# File names that follow from the options (DESIGN: ESPnet asr2's); sourced by the drivers after parsing.

if [ -n "${tokenizer}" ]; then                             # a pack decides the units
  packed=$(python3 -m espnet_sld.bin.unpack --pack "${tokenizer}" --print_options true \
    --frontend_dir "${expdir}/frontend") || exit 1
  while IFS='=' read -r name value; do printf -v "${name}" '%s' "${value}"; done <<< "${packed}"
fi
if [[ ${kmeans_feature} == */* ]]; then                    # wavlm_large/21, ./models/wavlm_tiny.pt/3
  feature_model=${kmeans_feature%/*}                       # a model by name, or the path of a checkpoint
  feature_model=${feature_model%"${feature_model##*[!/]}"} # without slashes at its end
  feature_model=${feature_model##*/}
  for suffix in .pt .pth .ckpt .th; do feature_model=${feature_model%"${suffix}"}; done
  feature_tag=${feature_model}_${kmeans_feature##*/}       # wavlm_large_21, wavlm_tiny_3
  extracted=${dumpdir}/extracted/${feature_model}/layer${kmeans_feature##*/}
else
  feature_tag=${kmeans_feature}
  extracted=${dumpdir}/extracted/${kmeans_feature}
fi
kmeans_dir=${expdir}/kmeans/${feature_tag}_${nclusters}clusters
unit_suffix=${feature_tag}_km${nclusters}                  # text.rm.<unit_suffix>
unit_text=text.${unit_case}.${unit_suffix}
transcript=text.ts.${lang}
unit_report_dir=${expdir}/unit_report/${unit_case}_${unit_token_type}_${unit_suffix}
train_dir=${train_set}${speed_perturb_factors:+_sp}        # what the model is trained on

raw() { echo "${dumpdir}/raw/$1/$2"; }                     # file $2 of set $1
eval_sets=${dev_set}                                       # dev and test sets, each once
for name in ${test_sets}; do
  [[ " ${eval_sets} " == *" ${name} "* ]] || eval_sets+=" ${name}"
done

token_lists=${datadir}/token_list
case ${unit_token_type} in
  unit | unigram) unit_piece_type=unigram ;;
  bpe) unit_piece_type=bpe ;;
  *) die "--unit_token_type ${unit_token_type}: must be unit, unigram or bpe" ;;
esac
unit_piece_dir=${token_lists}/src_bpe_${unit_piece_type}${unit_nbpe}_${unit_case}_${unit_suffix}
unit_token_path=${unit_piece_dir}/bpe.model                # stage 5 trains it also when the model reads single units
text_piece_type=unigram; [ "${text_token_type}" != bpe ] || text_piece_type=bpe
text_piece_dir=${token_lists}/tgt_bpe_${text_piece_type}${text_nbpe}_ts_${lang}
case ${text_token_type} in
  unigram | bpe) text_token_path=${text_piece_dir}/bpe.model ;;
  word) text_token_path=${token_lists}/word_${lang}/tokens.txt ;;
  char) text_token_path=${token_lists}/char_${lang}/tokens.txt ;;
  hf) text_token_path=${text_tokenizer:?--text_token_type hf needs --text_tokenizer, a directory or name} ;;
  *) die "--text_token_type ${text_token_type}: must be word, char, unigram, bpe or hf" ;;
esac

# the front-end with its options, for the commands
read -ra frontend_conf <<< "${kmeans_feature_conf}"
if [[ ${kmeans_feature} == */* ]]; then                    # a model computes the features
  frontend_conf=("backend=${frontend_backend}" ${frontend_source:+"source=${frontend_source}"}
    ${frontend_conf[@]+"${frontend_conf[@]}"})
fi
frontend=(--frontend "${kmeans_feature}" --frontend_conf ${frontend_conf[@]+"${frontend_conf[@]}"})
