# shellcheck shell=bash
# This recipe's own option, and what follows from it; read by the driver after its own.

# begin options
# -- Free Spoken Digit Dataset
fsdd_dir=                 # the folder that holds recordings/; default: the public repository is cloned
# end options

derive_options() {
  corpus_opts="${fsdd_dir:+--fsdd_dir '${fsdd_dir}'} ${corpus_opts}"
}
