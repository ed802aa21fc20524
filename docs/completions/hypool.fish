# fish completion of the `hypool` command.
set -l commands run report diff top doctor replay bench
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -f
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a run -d 'run a program on hypool'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a report -d 'show a report that was kept'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a diff -d 'compare two reports by call site'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a top -d 'watch a process'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'options, features, what is off'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a replay -d 'repeat a recorded trace'
complete -c hypool -n "not __fish_seen_subcommand_from $commands" -a bench -d 'measure allocate + free pairs'
complete -c hypool -n '__fish_seen_subcommand_from run' -l report -r -d 'keep the report'
complete -c hypool -n '__fish_seen_subcommand_from run' -l leaks -d 'look for lost blocks'
complete -c hypool -n '__fish_seen_subcommand_from run' -l suppressions -r -d 'known leaks'
complete -c hypool -n '__fish_seen_subcommand_from run' -l mean -x -d 'bytes between samples'
complete -c hypool -n '__fish_seen_subcommand_from run' -l max-peak -x -d 'most resident bytes'
complete -c hypool -n '__fish_seen_subcommand_from run' -l max-leaks -x -d 'most lost bytes'
complete -c hypool -n '__fish_seen_subcommand_from run' -l live -d 'keep the page for hypool top'
complete -c hypool -n '__fish_seen_subcommand_from run' -l record -r -d 'record a trace'
complete -c hypool -n '__fish_seen_subcommand_from run' -l option -x -d 'KEY:VALUE'
complete -c hypool -n '__fish_seen_subcommand_from run' -l quiet -d 'no summary'
complete -c hypool -n '__fish_seen_subcommand_from run' -x -a '(__fish_complete_subcommand --fcs-skip=2)'
complete -c hypool -n '__fish_seen_subcommand_from report diff' -l top -x -d 'call sites'
complete -c hypool -n '__fish_seen_subcommand_from report' -l folded
complete -c hypool -n '__fish_seen_subcommand_from report' -l html -r
complete -c hypool -n '__fish_seen_subcommand_from diff' -l max-growth -x -d 'most bytes more'
complete -c hypool -n "__fish_seen_subcommand_from $commands" -l json
complete -c hypool -n "__fish_seen_subcommand_from $commands" -l help
