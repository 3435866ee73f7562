#!/usr/bin/env bash
# Stock ESPnet's discrete ASR (asr2) on our tokens: the comparison system. Nothing but espnet2.bin trains and decodes.
# Stages: 1-5 tokenise (tokenize.sh), 6 collect statistics, 7 train, 8 decode, 9 score and report.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"

# begin options
# -- this driver
stop_stage=9              # last stage to run
# -- model and training
system=discrete_asr       # discrete_asr (encoder, CTC, attention) | lm_multitask (VoxtLM: decoder-only, loss on the text)
asr2_config=              # ESPnet's configuration; default: conf/train_asr2.yaml or conf/train_lm_multitask.yaml
asr2_tag=                 # suffix of the experiment directory; default: from config and units
asr2_args=                # more training options, e.g. "--max_epoch 5"
src_token_type=char       # discrete_asr: units as char (one token a unit) | bpe (unigram pieces of stage 5)
joint_nbpe=500            # lm_multitask: pieces of units and text together
seed=0                    # ESPnet's --seed
num_threads=1             # threads of training
# -- decoding
inference_config=         # default: conf/decode_asr2.yaml or conf/decode_lm_multitask.yaml
inference_tag=            # default: decode_beam
inference_model=valid.acc.ave.pth  # which checkpoint, chosen on dev
decode_sets=              # default: dev and test sets
# end options
own_options asr2_espnet.sh
. "${MAIN_ROOT}/utils/parse_options.sh"
check_call "$@"
! declare -F derive_options > /dev/null || derive_options
. "${TEMPLATE}/names.sh"

# lm_multitask's joint text of set $1 (prompts: .prompt)
joint() { raw "$1" "lm_multitask.${unit_case}.${unit_suffix}"; }
case ${system} in
  discrete_asr)
    trainer=espnet2.bin.mt_train decoder=espnet2.bin.mt_inference units_as=${src_token_type} shapes=(src_text text)
    case ${text_token_type} in
      word | char) prepared=(--token_type "${text_token_type}" --token_list "${text_token_path}") ;;
      unigram | bpe) prepared=(--token_type bpe --bpemodel "${text_token_path}" --token_list "${text_piece_dir}/tokens.txt") ;;
      *) die "--text_token_type ${text_token_type}: ESPnet's asr2 reads word, char, unigram or bpe" ;;
    esac
    unit_list=${token_lists}/char_${unit_case}_${unit_suffix}
    case ${src_token_type} in
      char) prepared+=(--src_token_type char --src_token_list "${unit_list}/tokens.txt") ;;
      bpe) prepared+=(--src_token_type bpe --src_bpemodel "${unit_piece_dir}/bpe.model" --src_token_list "${unit_piece_dir}/tokens.txt") ;;
      *) die "--src_token_type ${src_token_type}: must be char or bpe" ;;
    esac
    for part in "train ${train_dir}" "valid ${dev_set}"; do
      read -r role name <<< "${part}"
      prepared+=("--${role}_data_path_and_name_and_type" "$(raw "${name}" "${unit_text}"),src_text,text"
        "--${role}_data_path_and_name_and_type" "$(raw "${name}" "${transcript}"),text,text")
    done
    keys=("$(raw "${train_dir}" "${transcript}")" "$(raw "${dev_set}" "${transcript}")")
    ;;
  lm_multitask)
    trainer=espnet2.bin.lm_train decoder=espnet2.bin.lm_inference units_as=bpe${joint_nbpe} shapes=(text)
    joint_dir=${token_lists}/lm_multitask_unigram${joint_nbpe}_${unit_case}_${unit_suffix}
    prepared=(--token_type bpe --bpemodel "${joint_dir}/bpe.model" --token_list "${joint_dir}/tokens.txt"
      --train_data_path_and_name_and_type "$(joint "${train_dir}"),text,text"
      --valid_data_path_and_name_and_type "$(joint "${dev_set}"),text,text")
    keys=("$(joint "${train_dir}")" "$(joint "${dev_set}")")
    ;;
  *) die "--system ${system}: must be discrete_asr or lm_multitask" ;;
esac
prepared=(--use_preprocessor true --non_linguistic_symbols none --cleaner none --g2p none "${prepared[@]}")
name=${system/discrete_asr/asr2}
: "${asr2_config:=conf/train_${name}.yaml}" "${inference_config:=conf/decode_${name}.yaml}"
: "${inference_tag:=decode_beam}" "${decode_sets:=${eval_sets}}"
if [ -z "${asr2_tag}" ]; then
  asr2_tag=$(basename "${asr2_config}" .yaml)
  asr2_tag=${asr2_tag#train_}_${unit_case}_${units_as}_${unit_suffix}_${text_token_type}_seed${seed}
fi
exp=${expdir}/espnet_${asr2_tag}
one_gpu=$((ngpu > 0 ? 1 : 0))             # ESPnet refuses to decode on more
stats=${expdir}/espnet_stats_${name}_${unit_case}_${units_as}_${unit_suffix}_${text_token_type}

# What a training follows from: its configuration, options, token lists, and what its data hold.
training_inputs() {
  local name
  cksum < "${asr2_config}"
  printf '%s\n' --seed "${seed}" "${prepared[@]}" ${more[@]+"${more[@]}"}
  for name in "${prepared[@]}"; do
    name=${name%,text}; name=${name%,*}      # PATH,src_text,text
    [ ! -f "${name}" ] || cksum < "${name}"
  done
}

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  tokenise

  if wanted 6 "token lists for ESPnet's ${system}, and its statistics"; then
    makes "${stats}" "${shapes[-1]}_shape" train valid
    if [ "${system}" = lm_multitask ]; then
      makes "${token_lists}" tokens.txt "${joint_dir##*/}"
      for name in "${train_dir}" "${dev_set}"; do
        run python3 -m espnet_sld.bin.voxtlm_text --units "$(raw "${name}" "${unit_text}")" \
          --text "$(raw "${name}" "${transcript}")" --out "$(joint "${name}")"
      done
      run ${train_cmd} --num-threads 4 "${token_lists}/log/${joint_dir##*/}.log" \
        python3 -m espnet_sld.bin.train_subword --input "$(joint "${train_dir}")" --kind text \
        --model_type unigram --vocab_size "${joint_nbpe}" --out_dir "${joint_dir}" --user_defined_symbols \
        "<startofspeech>" "<generatespeech>" "<startoftext>" "<generatetext>"
    elif [ "${src_token_type}" = char ]; then
      makes "${token_lists}" tokens.txt "${unit_list##*/}"
      run python3 -m espnet_sld.bin.train_subword --input "$(raw "${train_dir}" "${unit_text}")" --kind unit \
        --model_type char --out_dir "${unit_list}"
    fi
    run ${train_cmd} "${stats}/log/stats.log" python3 -m espnet_sld.bin.espnet "${trainer}" \
      --config "${asr2_config}" --collect_stats true --output_dir "${stats}" --ngpu 0 "${prepared[@]}" \
      --train_shape_file "${keys[0]}" --valid_shape_file "${keys[1]}"
  fi

  if wanted 7 "ESPnet trains ${system}"; then
    makes "${expdir}" checkpoint.pth "${exp##*/}"
    split_words more "${asr2_args}"
    if [ "${dry_run}" != true ]; then
      check_inputs "${exp}" "a training" "with other options or data" asr2_tag training_inputs
    fi
    shape_files=()
    for name in "${shapes[@]}"; do
      shape_files+=(--train_shape_file "${stats}/train/${name}_shape" --valid_shape_file "${stats}/valid/${name}_shape")
    done
    run ${cuda_cmd} --gpu "${ngpu}" --num-threads "${num_threads}" "${exp}/train.log" \
      python3 -m espnet_sld.bin.espnet "${trainer}" --config "${asr2_config}" --output_dir "${exp}" \
      --ngpu "${ngpu}" --seed "${seed}" --resume true "${prepared[@]}" "${shape_files[@]}" ${more[@]+"${more[@]}"}
  fi

  if wanted 8 "ESPnet decodes ${decode_sets}"; then
    makes "${exp}/${inference_tag}" decode.done.json ${decode_sets}
    for name in ${decode_sets}; do
      out=${exp}/${inference_tag}/${name}
      if [ "${system}" = lm_multitask ]; then
        input=$(joint "${name}").prompt
        data="${input},text,text"
        joining=(--strip_task asr_ --after "<generatetext>")
        run python3 -m espnet_sld.bin.voxtlm_text --units "$(raw "${name}" "${unit_text}")" --out "${input}"
      else
        input=$(raw "${name}" "${unit_text}")
        data="${input},src_text,text"
        joining=()
      fi
      decoding=(--keys "${input}" --model "${exp}/${inference_model}" --config "${inference_config}"
        --out_dir "${out}" --num_shards "${nj}")
      state=$(run python3 -m espnet_sld.bin.espnet_shards split "${decoding[@]}")
      [ "${state}" != "done" ] || continue
      [ -z "${state}" ] || echo "${state}"
      model=(--mt_train_config "${exp}/config.yaml" --mt_model_file "${exp}/${inference_model}")
      [ "${system}" = discrete_asr ] || model=(--lm_train_config "${exp}/config.yaml" --lm_file "${exp}/${inference_model}")
      run ${decode_cmd} --gpu "${one_gpu}" JOB=1:"${nj}" "${out}/log/decode.JOB.log" \
        python3 -m espnet_sld.bin.espnet "${decoder}" --config "${inference_config}" --ngpu "${one_gpu}" \
        --data_path_and_name_and_type "${data}" --key_file "${out}/log/keys.JOB" "${model[@]}" \
        --output_dir "${out}/log/output.JOB"
      run python3 -m espnet_sld.bin.espnet_shards join "${decoding[@]}" --utt2dur "$(raw "${name}" utt2dur)" \
        --seed "${seed}" --name "espnet2 ${system}" ${joining[@]+"${joining[@]}"}
    done
  fi

  if wanted 9 "score and report"; then
    makes "${exp}/${inference_tag}" result.json ${decode_sets}
    for name in ${decode_sets}; do
      out=${exp}/${inference_tag}/${name}
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/text" \
        --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/decode.json" --out_dir "${out}"
    done
    run python3 -m espnet_sld.bin.results --exp_dir "${exp}"
  fi
}
stages; exit  # one line: nothing is read after the stages
