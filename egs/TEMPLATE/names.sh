# File names that follow from the options (DESIGN: ESPnet asr2's); sourced by the drivers after parsing.

feature_tag=${kmeans_feature//\//_}                        # wavlm_large/21 -> wavlm_large_21
if [[ ${kmeans_feature} == */* ]]; then
  extracted=${dumpdir}/extracted/${kmeans_feature%/*}/layer${kmeans_feature##*/}
else
  extracted=${dumpdir}/extracted/${kmeans_feature}
fi
kmeans_dir=${expdir}/kmeans/${feature_tag}_${nclusters}clusters
unit_suffix=${feature_tag}_km${nclusters}                  # text.rm.<unit_suffix>
unit_text=text.${unit_case}.${unit_suffix}
transcript=text.ts.${lang}
train_dir=${train_set}${speed_perturb_factors:+_sp}        # what the model is trained on

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
  hf) text_token_path=${text_tokenizer:?--text_token_type hf needs --text_tokenizer DIR} ;;
  *) die "--text_token_type ${text_token_type}: must be word, char, unigram, bpe or hf" ;;
esac
