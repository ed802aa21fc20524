# bash completion of the `hypool` command.
_hypool() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'run report diff top doctor replay bench help --help --version' -- "$cur")
        return
    fi
    case $prev in
    --report | --suppressions | --record | --html)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --mean | --max-peak | --max-leaks | --max-growth | --option | --top | -n | -d) return ;;
    esac
    if [ "$command" = run ]; then
        # Behind the program's name its own completion goes on.
        for ((i = 2; i < COMP_CWORD; i++)); do
            case ${COMP_WORDS[i]} in
            --) i=$((i + 1)) ;;
            --report | --suppressions | --record | --mean | --max-peak | --max-leaks | --option)
                i=$((i + 1))
                continue
                ;;
            -*) continue ;;
            esac
            if [ "$i" -lt "$COMP_CWORD" ] && declare -F _command_offset >/dev/null; then
                _command_offset "$i"
                return
            fi
            break
        done
    fi
    case $command:$cur in
    run:-*) mapfile -t COMPREPLY < <(compgen -W '--report --leaks --suppressions --mean --max-peak --max-leaks --live --record --option --json --quiet --help --' -- "$cur") ;;
    run:*) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
    report:-*) mapfile -t COMPREPLY < <(compgen -W '--top --json --folded --html --help' -- "$cur") ;;
    diff:-*) mapfile -t COMPREPLY < <(compgen -W '--top --json --max-growth --help' -- "$cur") ;;
    top:-*) mapfile -t COMPREPLY < <(compgen -W '--json -n -d --help' -- "$cur") ;;
    top:*) mapfile -t COMPREPLY < <(cd /dev/shm 2>/dev/null && for i in hypool.*; do compgen -W "${i#hypool.}" -- "$cur"; done) ;;
    doctor:* | bench:* | replay:-*) mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}
complete -o filenames -F _hypool hypool
