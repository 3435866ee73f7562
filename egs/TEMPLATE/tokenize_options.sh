# Options of stages 1-5, shared by every driver (sourced before utils/parse_options.sh).

# begin options
stage=1                   # first stage to run
skip_stages=              # stages to leave out, e.g. "2 5"
nj=2                      # parallel jobs
ngpu=0                    # GPUs a process may use (0: CPU)
dry_run=false             # print the commands, run nothing
# -- corpus
corpus=local/data.sh      # writes the data directories; called with --data_dir and corpus_opts, nj in its environment
corpus_opts=              # options for it
train_set=train           # training set
dev_set=dev               # everything is chosen on this set
test_sets=test            # each decoded once
lang=en                   # language, names the transcript files
allow_pipes=false         # allow commands in wav.scp
speed_perturb_factors=    # e.g. "0.9 1.0 1.1"; empty: none
datadir=data              # Kaldi data directories, as the corpus gives them
dumpdir=dump              # tokens
expdir=exp                # models
# -- units
kmeans_feature=mfcc       # front-end, or front-end/layer
kmeans_feature_conf=      # its options, e.g. "frame_shift_ms=20"
nclusters=200             # K
kmeans_max_frames=200000  # frames that k-means sees ("all": every frame)
kmeans_seed=0             # seed of the sample and of k-means++
unit_case=rm              # rm: equal neighbours removed; ts: every frame
unit_token_type=unit      # unit (one token per unit) | unigram | bpe
unit_nbpe=500             # unit pieces
# -- text
text_token_type=word      # word | char | unigram | bpe | hf
text_nbpe=500             # text pieces
text_tokenizer=           # Hugging Face tokeniser directory (text_token_type=hf)
# end options
