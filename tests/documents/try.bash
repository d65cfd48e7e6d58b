# Goes through the commands of an example and runs none: try.bash STATUS FILE. What it would have run is written to
# `words`, each word followed by a zero byte, each command by the sign of a record's end. All of them seem to end with STATUS.
# shellcheck shell=bash source=/dev/null
status=$1

command_not_found_handle() {
    # In one piece (bash would write a line by itself): the commands of a pipe write at the same time.
    printf '%s\0' "$@" $'\x1e' >>words
    # What is repeated for ever is done once.
    if [ "$1" = sleep ]; then
        [ ! -e slept ] && : >slept
        return
    fi
    return "$status"
}

# PATH leads nowhere: only what has a slash in its name would be found.
set -T
trap '
    case $BASH_COMMAND in
    /*) echo "not run: $BASH_COMMAND" >&2; exit 99 ;;
    [a-z]*/*)
        word=${BASH_COMMAND%%[[:space:]]*}
        if [[ $word == */* && $word != *=* ]]; then eval "$word() { command_not_found_handle $word \"\$@\"; }"; fi ;;
    esac
' DEBUG
source "$2"
