#!/usr/bin/env bash
# Parallel CTC recognition with a language model's knowledge (interAED-KD) and its ablation rows.
# Stages: 1-5 tokenise (tokenize.sh), 6 teacher, soft labels and the yardstick's LM, 7 train, 8 decode,
# 9 score and report, 10 pack.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"

# begin options
# -- this driver
stop_stage=10             # last stage to run
# -- teacher
teacher=                  # Hugging Face directory of a masked LM on the recogniser's tokens; default: a small BERT is
                          # trained on the transcripts
bert_conf=                # its size, e.g. "hidden_size=128 num_hidden_layers=4"; default: train_teacher's
teacher_conf=             # its training, e.g. "max_steps=4000 lr=0.001"
teacher_tag=              # suffix of its directory; default: from the tokens, or the name of --teacher
lm_train_text=            # more text for teacher and LM: Kaldi text files, one or several
soft_label_k=8            # labels a token
soft_label_temperature=3  # T of the softmax over them
# -- model and training
num_nodes=1               # machines that train together, with ngpu each (on a cluster)
input=units               # units | fbank (stages 1-5 are needed all the same, for transcripts and token lists)
unit_subsampling=1        # 1 | 2 | 4: embedded units become so many times fewer
row=interaed_kd           # ctc | interctc | aed | aed_kd | interaed | interaed_kd | ctc_kd
ctc_config=conf/train.yaml  # ESPnet-style training configuration
ctc_tag=                  # suffix of the experiment directory; default: from config, input, tokens and seed
ctc_args=                 # more training options, e.g. "--max_epoch 5"
seed=0                    # initialisation, data order, dropout
# -- decoding
decodings=greedy          # configurations conf/decode_<name>.yaml, "greedy beam", options after a colon:
                          # "greedy:batch_size=1 beam:lm_weight=0.4,beam_size=10"; a beam… takes the LM
inference_model=valid.ter.ave.pth  # which checkpoint, chosen on dev
decode_sets=              # default: dev and test sets
lm_config=conf/train_lm.yaml  # ESPnet's configuration of the LM
lm_tag=                   # suffix of its directory; default: from the tokens
lm_args=                  # more options of espnet2.bin.lm_train
# -- report.html
report_pages=all          # all (the experiment's and the recipe's) | experiment | none
# -- packing
pack_license=unknown      # licence of the packed model, for its card
pack_args=                # more options of espnet_sld.bin.pack, e.g. "--include_frontend true"
# end options
own_options ctc_kd.sh
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
check_call "$@"
! declare -F derive_options > /dev/null || derive_options
: "${text_tokenizer:=${teacher}}"          # a student on its teacher's vocabulary (text_token_type=hf)
. "${TEMPLATE}/names.sh"

# what set $1 sounds like: unit text, or the table of its recordings
speech() {
  if [ "${input}" = units ]; then
    raw "$1" "${unit_text}"
  elif [ -n "${speed_perturb_factors}" ] && [ "$1" = "${train_dir}" ]; then
    raw "$1" wav.scp
  else
    echo "${dumpdir}/raw/org/$1/wav.scp"
  fi
}
case ${row} in
  ctc | interctc | aed | interaed) taught=false ;;
  aed_kd | interaed_kd | ctc_kd) taught=true ;;
  *) die "--row ${row}: must be ctc, interctc, aed, aed_kd, interaed, interaed_kd or ctc_kd" ;;
esac
case ${input} in
  units)
    heard=${unit_case}_${unit_token_type}_${unit_suffix}
    listening=(--speech_token_type "${unit_token_type}" --speech_token_path "${unit_token_path}"
      --num_clusters "${nclusters}" --unit_subsampling "${unit_subsampling}")
    ;;
  fbank) heard=fbank listening=() ;;
  *) die "--input ${input}: must be units or fbank" ;;
esac
case ${text_token_type} in
  word | char) text_tag=${text_token_type} tokens=(--token_type "${text_token_type}" --token_list "${text_token_path}") ;;
  unigram | bpe)
    text_tag=${text_piece_type}${text_nbpe}
    tokens=(--token_type bpe --bpemodel "${text_token_path}" --token_list "${text_piece_dir}/tokens.txt")
    ;;
  hf)
    text_tag=hf_$(basename "${text_tokenizer}")
    tokens=(--token_type hf --bpemodel "${text_tokenizer}" --token_list "${token_lists}/${text_tag}/tokens.txt")
    ;;
esac
case ${report_pages} in
  all) recipe_page=(--recipe_dir .) ;;
  experiment | none) recipe_page=() ;;
  *) die "--report_pages ${report_pages}: must be all, experiment or none" ;;
esac
with_lm=false
for item in ${decodings}; do
  kind=${item%%:*}
  [[ ${kind} == greedy* || ${kind} == beam* ]] || die "--decodings ${item}: a name begins with greedy or beam"
  [[ ${kind} != beam* ]] || with_lm=true
done
[ "${with_lm}" = false ] || [ "${text_token_type}" != hf ] ||
  die "--decodings ${decodings}: ESPnet's LM cannot be trained on --text_token_type hf; take word, char, unigram or bpe"

if [ -n "${teacher}" ]; then
  : "${teacher_tag:=$(basename "${teacher}")}"
  teacher_model=${teacher}
else
  : "${teacher_tag:=${text_tag}}"
  teacher_model=${expdir}/teacher_${teacher_tag}/model
fi
soft_dir=${expdir}/soft_labels_${teacher_tag}
soft_labels=${soft_dir}/${train_dir}_${text_tag}_k${soft_label_k}_T${soft_label_temperature}.safetensors
lm_exp=${expdir}/lm_${lm_tag:-${text_tag}}
lm_stats=${expdir}/lm_stats_${lm_tag:-${text_tag}}
if [ -z "${ctc_tag}" ]; then
  ctc_tag=$(basename "${ctc_config}" .yaml)
  ctc_tag=${ctc_tag#train}; ctc_tag=${ctc_tag#_}
  ctc_tag=${ctc_tag:+${ctc_tag}_}${heard}_${text_tag}_seed${seed}
fi
ctc_exp=${expdir}/${row}_${ctc_tag}
: "${decode_sets:=${eval_sets}}"
one_gpu=$((ngpu > 0 ? 1 : 0))
label_jobs=$((ngpu > 0 ? ngpu : nj))
split_words more_text "${lm_train_text}"
. "${TEMPLATE}/ctc_kd_stage6.sh"

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  # stage 5's report cannot count BERT's pieces (its tokenizer has no end of text): it counts words
  more=(); [ "${text_token_type}" != hf ] || more=(--text_token_type word)
  tokenise ${more[@]+"${more[@]}"}

  what=; [ "${taught}" = false ] || what="teacher, soft labels"
  [ "${with_lm}" = false ] || what+="${what:+, }the yardstick's LM"
  if wanted 6 "${what:-nothing to make}"; then
    if [ "${text_token_type}" = hf ]; then
      makes "${token_lists}" tokens.txt "${text_tag}"
      run ${train_cmd} "${token_lists}/log/${text_tag}.log" python3 -m espnet_sld.bin.hf_token_list \
        --model "${text_tokenizer}" --out "${token_lists}/${text_tag}/tokens.txt"
    fi
    if [ "${taught}" = true ]; then
      [ -n "${teacher}" ] || makes "${expdir}" model.done.json "teacher_${teacher_tag}"
      makes "${expdir}" "${soft_labels##*/}.json" "${soft_dir##*/}"
      make_soft_labels
    fi
    if [ "${with_lm}" = true ]; then
      makes "${expdir}" finished "${lm_exp##*/}"
      train_lm
    fi
  fi

  if wanted 7 "train ${ctc_exp}"; then
    makes "${expdir}" train.done.json "${ctc_exp##*/}"
    split_words more "${ctc_args}"
    [ "${dry_run}" = true ] || write_run_script "${ctc_exp}/run.sh"
    machines=(); [ "${num_nodes}" = 1 ] || machines=(--num_nodes "${num_nodes}")
    lessons=(); [ "${taught}" = false ] || lessons=(--soft_labels "${soft_labels}")
    run ${cuda_cmd} --gpu "${ngpu}" ${machines[@]+"${machines[@]}"} "${ctc_exp}/train.log" \
      python3 -m espnet_sld.bin.train_ctc --config "${ctc_config}" --output_dir "${ctc_exp}" --ngpu "${ngpu}" \
      --seed "${seed}" --resume true --input "${input}" ${listening[@]+"${listening[@]}"} "${tokens[@]}" \
      --criterion_conf "row=${row}" ${lessons[@]+"${lessons[@]}"} \
      --train_data_path_and_name_and_type "$(speech "${train_dir}"),speech,text" \
      --train_data_path_and_name_and_type "$(raw "${train_dir}" "${transcript}"),text,text" \
      --valid_data_path_and_name_and_type "$(speech "${dev_set}"),speech,text" \
      --valid_data_path_and_name_and_type "$(raw "${dev_set}" "${transcript}"),text,text" \
      ${machines[@]+"${machines[@]}"} ${more[@]+"${more[@]}"}
  fi

  decoding() {  # an item of decodings: kind (its configuration), tag (its folder), settings
    local pair
    kind=${1%%:*} tag=decode_${1//[:=,]/_} settings=()
    [ "${kind}" = "$1" ] || for pair in $(tr , ' ' <<< "${1#*:}"); do settings+=("--${pair%%=*}" "${pair#*=}"); done
    [[ ${kind} != beam* ]] || settings+=(--lm_exp "${lm_exp}")
  }
  if wanted 8 "decode ${decode_sets}: ${decodings}"; then
    for item in ${decodings}; do
      decoding "${item}"
      makes "${ctc_exp}/${tag}" decode.done.json ${decode_sets}
      for name in ${decode_sets}; do
        out=${ctc_exp}/${tag}/${name}
        run ${decode_cmd} --gpu "${one_gpu}" "${out}/log/decode.log" python3 -m espnet_sld.bin.decode_ctc \
          --exp_dir "${ctc_exp}" --checkpoint "${inference_model}" --config "conf/decode_${kind}.yaml" \
          --speech_text "$(speech "${name}")" --utt2dur "$(raw "${name}" utt2dur)" --ngpu "${one_gpu}" \
          ${settings[@]+"${settings[@]}"} --out_dir "${out}"
      done
    done
  fi

  if wanted 9 "score and report"; then
    for item in ${decodings}; do
      decoding "${item}"
      makes "${ctc_exp}/${tag}" result.json ${decode_sets}
      for name in ${decode_sets}; do
        out=${ctc_exp}/${tag}/${name}
        run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/text" \
          --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/decode.json" --out_dir "${out}"
      done
    done
    run python3 -m espnet_sld.bin.results --exp_dir "${ctc_exp}"
    [ "${report_pages}" = none ] || run ${train_cmd} "${ctc_exp}/log/report.log" python3 -m espnet_sld.bin.report \
      --exp_dir "${ctc_exp}" ${recipe_page[@]+"${recipe_page[@]}"}
  fi

  if wanted 10 "pack ${ctc_exp}"; then
    makes "${expdir}/packed" manifest.json "${ctc_exp##*/}"
    split_words more "${pack_args}"
    if [[ ${kmeans_feature} == */* && -e ${kmeans_feature%/*} ]]; then  # a checkpoint that has no public name
      more=(--include_frontend true ${more[@]+"${more[@]}"})
    fi
    run ${train_cmd} "${ctc_exp}/log/pack.log" python3 -m espnet_sld.bin.pack --exp_dir "${ctc_exp}" \
      --checkpoint "${inference_model}" --inference_config conf/decode_greedy.yaml \
      --kmeans_dir "${kmeans_dir}" --num_clusters "${nclusters}" \
      --unit_case "${unit_case}" "${frontend[@]}" --token_lists "${unit_piece_dir}" "${text_piece_dir}" \
      "${token_lists}/word_${lang}" "${token_lists}/char_${lang}" --language "${lang}" --license "${pack_license}" \
      --out "${expdir}/packed/${ctc_exp##*/}" ${more[@]+"${more[@]}"}
  fi
}
stages; exit  # one line: nothing is read after the stages
