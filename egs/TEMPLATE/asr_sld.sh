#!/usr/bin/env bash
# Decoder-only speech recognition on discrete tokens (SLD): from raw audio to a table of word error rates.
# Stages: 1-5 tokenise (tokenize.sh), 6 shapes and statistics, 7 train, 8 decode, 9 score and report, 10 pack.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"

# begin options
# -- this driver
stop_stage=10             # last stage to run
# -- model and training
num_nodes=1               # machines that train together, with ngpu each (on a cluster)
asr_config=conf/train.yaml  # ESPnet-style training configuration
asr_tag=                  # suffix of the experiment directory; default: from config, objective and seed
asr_args=                 # more training options, e.g. "--max_epoch 5"
backbone=                 # Hugging Face causal LM, directory or name, to start from (text_token_type=hf takes
                          # its tokenizer); default: what asr_config says
objective=sld             # none | ce | label_smoothing | kl | sld | matched | ce_weighted | own: a criterion of yours,
                          # which asr_config names with its options (docs/extending.md)
seed=0                    # initialisation, data order, dropout
max_text=150              # longest transcript in tokens
# -- decoding
inference_config=conf/decode_greedy.yaml  # beam size, batch size
inference_tag=            # default: the configuration's name
inference_model=valid.ce_text.ave.pth  # which checkpoint, chosen on dev
decode_sets=              # default: dev and test sets
# -- report.html
report_pages=all          # all (the experiment's and the recipe's) | experiment | none
report_attention=0        # utterances of the last set whose attention the page shows
# -- packing
pack_license=unknown      # licence of the packed model, for its card
pack_args=                # more options of espnet_sld.bin.pack, e.g. "--include_frontend true"
# end options
own_options asr_sld.sh
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
check_call "$@"
! declare -F derive_options > /dev/null || derive_options
[ "${text_token_type}" != hf ] || : "${text_tokenizer:=${backbone}}"
. "${TEMPLATE}/names.sh"

if [ -z "${asr_tag}" ]; then
  asr_tag=$(basename "${asr_config}" .yaml)
  asr_tag=${asr_tag#train}; asr_tag=${asr_tag#_}
  [[ _${asr_tag}_ == *_${objective}_* ]] || asr_tag=${asr_tag:+${asr_tag}_}${objective}
  asr_tag=${asr_tag}_${unit_case}_${unit_token_type}_${unit_suffix}_seed${seed}
fi
asr_exp=${expdir}/asr_sld_${asr_tag}
stats=${expdir}/asr_sld_stats_${unit_case}_${unit_token_type}_${unit_suffix}_${text_token_type}
: "${inference_tag:=$(basename "${inference_config}" .yaml)}"
: "${decode_sets:=${eval_sets}}"

case ${report_pages} in
  all) recipe_page=(--recipe_dir .) ;;
  experiment | none) recipe_page=() ;;
  *) die "--report_pages ${report_pages}: must be all, experiment or none" ;;
esac

decode_gpu=$((ngpu > 0 ? 1 : 0))          # a set is decoded by one process

tokens=(--speech_token_type "${unit_token_type}" --speech_token_path "${unit_token_path}"
  --num_clusters "${nclusters}" --text_token_type "${text_token_type}" --text_token_path "${text_token_path}"
  --template asr_sld --max_positions "${max_positions}" --max_text "${max_text}")

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  tokenise

  if wanted 6 "shapes and statistics"; then
    makes "${stats}" shapes.done.json train valid
    for part in "train ${train_dir}" "valid ${dev_set}"; do
      read -r role name <<< "${part}"
      run ${train_cmd} "${stats}/log/shapes.${role}.log" python3 -m espnet_sld.bin.collect_shapes \
        --speech_text "$(raw "${name}" "${unit_text}")" --text "$(raw "${name}" "${transcript}")" \
        "${tokens[@]}" --out_dir "${stats}/${role}"
    done
  fi

  if wanted 7 "train ${asr_exp}"; then
    makes "${expdir}" train.done.json "${asr_exp##*/}"
    split_words more "${asr_args}"
    criterion=(); [ "${objective}" = own ] || criterion=(--criterion_conf "objective=${objective}")
    if [[ ${objective} == matched || ${objective} == ce_weighted ]]; then  # weights from counts on the training set
      derive=(python3 -m espnet_sld.bin.matched_weights --config "${asr_config}" --objective "${objective}"
        --length_stats "${stats}/train/length_stats.json" ${more[@]+--training_args "${more[@]}"})
      if [ "${dry_run}" = true ]; then run "${derive[@]}"; pairs=; else pairs=$("${derive[@]}"); fi
      for pair in ${pairs}; do criterion+=(--criterion_conf "${pair}"); done
    fi
    [ "${dry_run}" = true ] || write_run_script "${asr_exp}/run.sh"
    machines=(); [ "${num_nodes}" = 1 ] || machines=(--num_nodes "${num_nodes}")
    run ${cuda_cmd} --gpu "${ngpu}" ${machines[@]+"${machines[@]}"} "${asr_exp}/train.log" python3 -m espnet_sld.bin.train \
      --config "${asr_config}" --output_dir "${asr_exp}" --ngpu "${ngpu}" --seed "${seed}" --resume true \
      ${criterion[@]+"${criterion[@]}"} "${tokens[@]}" \
      --train_data_path_and_name_and_type "$(raw "${train_dir}" "${unit_text}"),speech,text" \
      --train_data_path_and_name_and_type "$(raw "${train_dir}" "${transcript}"),text,text" \
      --valid_data_path_and_name_and_type "$(raw "${dev_set}" "${unit_text}"),speech,text" \
      --valid_data_path_and_name_and_type "$(raw "${dev_set}" "${transcript}"),text,text" \
      --train_shape_file "${stats}/train/sequence_shape" --valid_shape_file "${stats}/valid/sequence_shape" \
      ${backbone:+--backbone_source "${backbone}"} ${machines[@]+"${machines[@]}"} \
      ${more[@]+"${more[@]}"}
  fi

  if wanted 8 "decode ${decode_sets}"; then
    makes "${asr_exp}/${inference_tag}" decode.done.json ${decode_sets}
    for name in ${decode_sets}; do
      out=${asr_exp}/${inference_tag}/${name}
      run ${decode_cmd} --gpu "${decode_gpu}" "${out}/log/decode.log" python3 -m espnet_sld.bin.decode \
        --exp_dir "${asr_exp}" --checkpoint "${inference_model}" --config "${inference_config}" \
        --speech_text "$(raw "${name}" "${unit_text}")" --utt2dur "$(raw "${name}" utt2dur)" \
        --length_stats "${stats}/train/length_stats.json" --ngpu "${decode_gpu}" --out_dir "${out}"
    done
  fi

  if wanted 9 "score and report"; then
    makes "${asr_exp}/${inference_tag}" result.json ${decode_sets}
    for name in ${decode_sets}; do
      out=${asr_exp}/${inference_tag}/${name}
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/text" \
        --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/decode.json" --out_dir "${out}"
    done
    run python3 -m espnet_sld.bin.results --exp_dir "${asr_exp}"
    if [ "${report_attention}" != 0 ]; then
      run ${decode_cmd} --gpu 0 "${asr_exp}/log/attention.log" python3 -m espnet_sld.bin.attention --exp_dir "${asr_exp}" \
        --checkpoint "${inference_model}" --decoding "${inference_tag}/${decode_sets##* }" \
        --speech_text "$(raw "${decode_sets##* }" "${unit_text}")" --number "${report_attention}"
    fi
    [ "${report_pages}" = none ] || run ${train_cmd} "${asr_exp}/log/report.log" python3 -m espnet_sld.bin.report \
      --exp_dir "${asr_exp}" ${recipe_page[@]+"${recipe_page[@]}"}
  fi

  if wanted 10 "pack ${asr_exp}"; then
    makes "${expdir}/packed" manifest.json "${asr_exp##*/}"
    split_words more "${pack_args}"
    if [[ ${kmeans_feature} == */* && -e ${kmeans_feature%/*} ]]; then  # a checkpoint that has no public name
      more=(--include_frontend true ${more[@]+"${more[@]}"})
    fi
    run ${train_cmd} "${asr_exp}/log/pack.log" python3 -m espnet_sld.bin.pack --exp_dir "${asr_exp}" \
      --checkpoint "${inference_model}" --inference_config "${inference_config}" \
      --length_stats "${stats}/train/length_stats.json" --kmeans_dir "${kmeans_dir}" --num_clusters "${nclusters}" \
      --unit_case "${unit_case}" "${frontend[@]}" --token_lists "${unit_piece_dir}" "${text_piece_dir}" \
      "${token_lists}/word_${lang}" "${token_lists}/char_${lang}" --language "${lang}" --license "${pack_license}" \
      --out "${expdir}/packed/${asr_exp##*/}" ${more[@]+"${more[@]}"}
  fi
}
stages; exit  # one line: nothing is read after the stages
