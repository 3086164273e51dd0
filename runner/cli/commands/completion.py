"""``completion``: what a shell must be told to complete our command lines."""

from __future__ import annotations

import argparse

from runner.cli.console import Console

# Each asks `runner __complete WORD...`, whose last line begins with a colon: no candidate.
# bash breaks words at colons, which names of models have: what stands before one is taken off.
BASH = r"""_runner() {
    local line=${COMP_LINE:0:COMP_POINT} words last found
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=${words[${#words[@]}-1]}
    mapfile -t found < <("${words[0]}" __completeNoDesc "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    (( ${#found[@]} )) || return
    [[ ${found[${#found[@]}-1]} == :0 ]] && compopt -o default
    unset "found[${#found[@]}-1]"
    if [[ $last == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${found[@]#"${last%"${last##*:}"}"}")
    else
        COMPREPLY=("${found[@]}")
    fi
}
complete -F _runner runner
"""
ZSH = r"""#compdef runner
_runner() {
    local -a lines described
    local line
    lines=("${(@f)$(${words[1]} __complete ${words[2,CURRENT-1]} "${words[CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        [[ $line == :* ]] && continue
        described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe runner described
    [[ $lines[-1] == :0 ]] && _files
}
compdef _runner runner
"""
FISH = r"""function __runner_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null | string match -v -r '^:'
end
complete -c runner -a '(__runner_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "shell",
        choices=tuple(SCRIPTS),
        help="in ~/.bashrc: source <(runner completion bash); in ~/.zshrc: the same with zsh; "
        "for fish: runner completion fish > ~/.config/fish/completions/runner.fish",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the shell's script."""
    console.write(SCRIPTS[args.shell])
    return 0
