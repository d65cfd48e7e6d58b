# What a real zsh, on a terminal of its own, makes of a tabulator: ask.zsh DIRECTORY LINE
#
# Prints the choices that it offers, and "line: ..." as it is afterwards.
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "unsetopt beep prompt_sp; PS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit && compinit -u -D"
# The command as it is echoed doesn't have the word that tells that it has run.
zpty -w inner 'shown() { print -r -- "line: $BUFFER"; print "the end"; }; zle -N shown; bindkey "^X" shown; print re""ady'
while zpty -r inner said && [[ $said != *ready* ]]; do :; done
zpty -w -n inner "$2"$'\t'$'\x18'
while zpty -r inner said && [[ $said != *"the end"* ]]; do print -rn -- $said; done
zpty -d inner
