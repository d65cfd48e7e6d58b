# What bash would offer for the last of these words: ask.bash DIRECTORY WORD...
# shellcheck shell=bash source=/dev/null
source "$1/ntpfront.bash"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
# As it stands in `complete -F`, with the program, the word and the one before it.
registered=$(complete -p ntpfront)
function=${registered#*-F }
"${function%% *}" ntpfront "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
