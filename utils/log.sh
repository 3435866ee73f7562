# shellcheck shell=bash
# log MESSAGE…: one line on stderr with time, file, line and function (of the caller LOG_UP levels up). die MESSAGE…:
# the same, then exit 1.
# Source it: . utils/log.sh

log() {
    printf '%s (%s:%s:%s) %s\n' "$(date '+%Y-%m-%dT%H:%M:%S')" \
        "${BASH_SOURCE[1 + ${LOG_UP:-0}]##*/}" "${BASH_LINENO[${LOG_UP:-0}]}" "${FUNCNAME[1 + ${LOG_UP:-0}]:-main}" "$*" >&2
}

die() {
    printf '%s (%s:%s:%s) error: %s\n' "$(date '+%Y-%m-%dT%H:%M:%S')" \
        "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "${FUNCNAME[1]:-main}" "$*" >&2
    exit 1
}
