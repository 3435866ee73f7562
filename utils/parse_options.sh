# shellcheck shell=bash
# Command-line options for a script, from its own variables. Declare them, then source this file:
#
#     #!/usr/bin/env bash
#     # What the script does (--help begins with these lines).
#     # begin options
#     # Heading of a group (or: # -- Heading)
#     stage=1         # first stage to run
#                     # (a comment alone goes on with the one above)
#     dry_run=false   # print the commands, run nothing
#     # end options
#     . utils/parse_options.sh
#
# Then `--stage 3`, `--stage=3`, `--dry_run`, `--dry_run true` set the variables (`-` in a name is read as `_`),
# `--config FILE` reads `name=value` lines (the command line wins; a script that declares a `config` of its own has it
# as an ordinary option), and `--help` prints the block above, with the defaults. Unknown names are errors; a variable
# whose default is true or false takes nothing else. What follows the options (or `--`) stays in "$@". Without the two markers every
# `name=…` at the start of a line before the one that sources this file is an option.
# A script whose options stand in several files sets option_files=(FILE…) before; --help lists them in that order.
# A script may set help_message to replace the text of its head. Safe under set -euo pipefail.

# Lines of the option blocks of all files, an empty line after each.
_options_blocks() {
    local _options_file
    for _options_file in "${_options_files[@]}"; do
        _options_block "${_options_file}"
        printf '\n'
    done
}

_options_block() {
    if grep -q '^# begin options' "$1"; then
        sed -n '/^# begin options/,/^# end options/p' "$1" | sed '1d;$d'
    else
        sed -n '/parse_options\.sh/q;p' "$1" | sed -n '/^[A-Za-z_][A-Za-z0-9_]*=/,$p'
    fi
}

_options_names() { sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'; }

# For scripts: the names of the options that the file $1 declares.
option_names() { _options_block "$1" | _options_names; }

_options_fail() {
    printf 'error: %s: %s\n' "${_options_script##*/}" "$1" >&2
    printf '       see %s --help\n' "$0" >&2
    exit 1
}

_options_help() {
    printf 'usage: %s [--name value] …\n\n' "$0"
    if [ -n "${help_message:-}" ]; then
        printf '%s\n\n' "${help_message}"
    else
        awk 'NR == 1 && /^#!/ { next } /^# (begin|end) options/ { exit }
             /^# ?shellcheck/ { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "${_options_script}"
        printf '\n'
    fi
    _options_blocks | awk '
        function show() {
            if (name == "") return
            if (gap && seen) print ""
            printf "  %-24s %s%s\n", name, text, (value == "" ? "" : " (" value ")")
            name = ""; gap = 0; seen = 1
        }
        /^[A-Za-z_][A-Za-z0-9_]*=/ {
            show()
            name = "--" substr($0, 1, index($0, "=") - 1); rest = substr($0, index($0, "=") + 1)
            text = ""
            # The comment starts at a # after a space and outside quotes.
            quote = ""; cut = length(rest) + 1
            for (i = 1; i <= length(rest); i++) {
                c = substr(rest, i, 1)
                if (quote != "") { if (c == quote) quote = ""; continue }
                if (c == "\"" || c == "\047") { quote = c; continue }
                if (c == "#" && (i == 1 || substr(rest, i - 1, 1) ~ /[ \t]/)) { cut = i; break }
            }
            text = substr(rest, cut); sub(/^#[ \t]*/, "", text)
            value = substr(rest, 1, cut - 1); gsub(/^[ \t"\047]+|[ \t"\047]+$/, "", value)
            next
        }
        /^[ \t]+#/ { line = $0; sub(/^[ \t]*#[ \t]*/, "", line); text = text " " line; next }
        /^#/ { show(); sub(/^#[ \t]*(--[ \t]*)?/, ""); if (seen) print ""; print $0 ":"; gap = 0; seen = 1; next }
        /^$/ { show(); gap = 1; next }
        END { show() }'
}

# Set variable $1 to $2 after the checks; $3 says how the user wrote it.
_options_set() {
    if ! grep -qx -- "$1" <<< "${_options_known}"; then
        _options_fail "no such option: $3"
    fi
    case "${!1-}" in
        true|false)
            case "$2" in
                true|false) ;;
                *) _options_fail "$3 takes true or false, not '$2'" ;;
            esac ;;
    esac
    printf -v "$1" '%s' "$2"
}

# name=value lines of a file; quotes around the value and trailing comments are dropped.
_options_read_config() {
    [ -r "$1" ] || _options_fail "--config $1: no such file"
    # Prefixed, since a local variable would hide an option of the same name.
    local _options_line _options_number=0 _options_key _options_text
    while IFS= read -r _options_line || [ -n "${_options_line}" ]; do
        _options_number=$((_options_number + 1))
        [[ "${_options_line}" =~ ^[[:space:]]*(#.*)?$ ]] && continue
        if ! [[ "${_options_line}" =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
            _options_fail "$1:${_options_number}: expected name=value"
        fi
        _options_key="${BASH_REMATCH[1]}" _options_text="${BASH_REMATCH[2]}"
        if [[ "${_options_text}" =~ ^\"([^\"]*)\" || "${_options_text}" =~ ^\'([^\']*)\' ]]; then
            _options_text="${BASH_REMATCH[1]}"
        else
            _options_text="${_options_text%%[[:space:]]#*}"
            _options_text="${_options_text%"${_options_text##*[![:space:]]}"}"
        fi
        _options_set "${_options_key}" "${_options_text}" "$1:${_options_number}: ${_options_key}"
    done < "$1"
}

_options_script="${BASH_SOURCE[1]}"
_options_files=("${option_files[@]-${_options_script}}")
_options_known="$(_options_blocks | _options_names)"

# A configuration file is read first, so that the command line wins wherever --config stands in it.
if ! grep -qx config <<< "${_options_known}"; then
    _options_previous=
    for _options_argument in "$@"; do
        case "${_options_argument}" in
            --) break ;;
            --config=*) _options_read_config "${_options_argument#*=}" ;;
        esac
        [ "${_options_previous}" != --config ] || _options_read_config "${_options_argument}"
        _options_previous="${_options_argument}"
    done
fi

while [ $# -gt 0 ]; do
    case "$1" in
        --help|-h) _options_help; exit 0 ;;
        --) shift; break ;;
        --*=*)
            _options_name="${1%%=*}"; _options_name="${_options_name#--}"; _options_name="${_options_name//-/_}"
            _options_value="${1#*=}"; _options_used=1 ;;
        --*)
            _options_name="${1#--}"; _options_name="${_options_name//-/_}"; _options_used=2
            _options_value="${2-}"
            if grep -qx -- "${_options_name}" <<< "${_options_known}" &&
                [[ "${!_options_name-}" =~ ^(true|false)$ ]] && { [ $# -eq 1 ] || [[ "$2" == --* ]]; }; then
                _options_value=true; _options_used=1        # a switch alone means true
            elif [ $# -eq 1 ]; then
                grep -qx -- "${_options_name}" <<< "${_options_known}" || [ "${_options_name}" = config ] ||
                    _options_fail "no such option: $1"
                _options_fail "$1 needs a value"
            elif [[ "$2" == --* ]] && { [[ "${!_options_name-}" =~ ^-?[0-9]+$ ]] ||
                    { _options_next="${2#--}"; grep -qx -- "${_options_next//-/_}" <<< "${_options_known}"; }; }; then
                # Values may begin with -- ("--lr 1"), but not where that is surely the next option.
                _options_fail "$1 needs a value"
            fi ;;
        *) break ;;
    esac
    if [ "${_options_name}" != config ] || grep -qx config <<< "${_options_known}"; then
        _options_set "${_options_name}" "${_options_value}" "${1%%=*}"
    fi
    shift "${_options_used}"
done
unset _options_script _options_files _options_known _options_name _options_value _options_used _options_next _options_previous _options_argument
