# Options of stages 1-5, shared by every driver (sourced before utils/parse_options.sh).

# begin options
stage=1                   # first stage to run
skip_stages=              # stages to leave out, e.g. "2 5"
nj=2                      # parallel jobs
ngpu=0                    # GPUs a process may use (0: CPU)
dry_run=false             # print the commands, run nothing
# -- corpus
corpus=local/data.sh      # writes the data directories; called with --data_dir and corpus_opts, nj in its environment
corpus_opts=              # options for it; quotes keep spaces together
train_set=train           # training set
dev_set=dev               # everything is chosen on this set
test_sets=test            # each decoded once
lang=en                   # language, names the transcript files
allow_pipes=false         # allow commands in wav.scp
channels=mono             # mono: recordings of several channels are refused | mean: they are averaged
speed_perturb_factors=    # e.g. "0.9 1.0 1.1"; empty: none
datadir=data              # Kaldi data directories, as the corpus gives them
dumpdir=dump              # tokens
expdir=exp                # models
# -- units
tokenizer=                # a pack (directory, zip, name on the hub): its front-end, k-means and subword models are
                          # taken, whatever the options below say, and nothing is fitted
kmeans_feature=mfcc       # mfcc, model/layer such as wavlm_large/21, or checkpoint/layer with the path of a
                          # checkpoint file or a Hugging Face directory
kmeans_feature_conf=      # its options, e.g. "frame_shift_ms=20" or "precision=tf32"
frontend_backend=s3prl    # what runs a model: s3prl | transformers
frontend_source=          # local checkpoint of a named model; default: downloaded once
batch_seconds=            # audio that is extracted at once, padding counted; default: extract_units'
speed_on=                 # where speed perturbation is computed: cpu | device; default: extract_units'
nclusters=200             # K
kmeans_hours=             # k-means reads random utterances of so many hours; default: all
kmeans_max_frames=200000  # frames that k-means sees ("all": every frame)
kmeans_backend=torch      # torch | sklearn (MiniBatchKMeans with the papers' settings)
kmeans_algorithm=lloyd    # torch's: lloyd | minibatch
kmeans_seed=0             # seed of the sample and of k-means++
unit_case=rm              # rm: equal neighbours removed; ts: every frame
unit_token_type=unit      # unit (one token per unit) | unigram | bpe
unit_nbpe=500             # unit pieces
max_positions=1024        # longest sequence of the model; a longer speech part is cut, and counted in stage 5
# -- text
text_token_type=word      # word | char | unigram | bpe | hf
text_nbpe=500             # text pieces
text_tokenizer=           # Hugging Face tokenizer, directory or name (text_token_type=hf)
# end options
