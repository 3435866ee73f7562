# shellcheck shell=bash
# Completion for bash: `. utils/completion.bash`, then ./run.sh --<Tab> and python -m espnet_sld.bin.<Tab>.
# Options of run.sh and other recipe scripts are those that their --help lists; a command's likewise.

_espnet_sld_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Options that a command's --help names, one a line.
_espnet_sld_options() {
    "$@" --help 2> /dev/null | grep -oE -- '--[a-z][a-z0-9_]*' | sort -u
}

_espnet_sld_recipe() {
    COMPREPLY=()
    local word=${COMP_WORDS[COMP_CWORD]}
    if [[ ${word} == --* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_espnet_sld_options "${COMP_WORDS[0]}")" -- "${word}")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${word}")
    fi
}

_espnet_sld_python() {
    COMPREPLY=()
    local word=${COMP_WORDS[COMP_CWORD]} module=${COMP_WORDS[2]-} file
    [ "${COMP_WORDS[1]-}" = -m ] || { mapfile -t COMPREPLY < <(compgen -f -- "${word}"); return; }
    if [ "${COMP_CWORD}" -eq 2 ]; then
        for file in "${_espnet_sld_root}"/espnet_sld/bin/[a-z]*.py; do
            file=${file##*/}
            [[ espnet_sld.bin.${file%.py} != "${word}"* ]] || COMPREPLY+=("espnet_sld.bin.${file%.py}")
        done
    elif [[ ${module} == espnet_sld.bin.* && ${word} == --* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(PYTHONPATH=${_espnet_sld_root}:${PYTHONPATH-} \
            _espnet_sld_options "${COMP_WORDS[0]}" -m "${module}")" -- "${word}")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${word}")
    fi
}

complete -F _espnet_sld_recipe run.sh ./run.sh run_table.sh ./run_table.sh run_studies.sh ./run_studies.sh
complete -F _espnet_sld_python python python3
