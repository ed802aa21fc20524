# bash: arrays, substitutions, subshells, pipes, traps, co-processes.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: bash
# seconds: 60
exec bash -c '
declare -A map; for i in {1..20000}; do map[k$((i % 977))]+=$i; done
total=0; for k in "${!map[@]}"; do total=$((total + ${#map[$k]})); done; echo "$total"
s=; for i in {1..3000}; do s+="item $i,"; done; IFS=, read -ra parts <<< "$s"; echo "${#parts[@]} ${parts[2999]}"
echo "${s//item/ITEM}" | cksum
for i in {1..60}; do x=$(echo $(( $(echo $i) * 2 )) | sed s/^/n/); done; echo "$x"
coproc cat; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo "$line"
trap "echo trapped" USR1; kill -USR1 $$; (exit 7); echo $?
printf "%s\n" {a..z}{a..z} | sort -r | head -3
f() { local n=$1; ((n == 0)) && return; f $((n - 1)); }; f 500; echo deep
eval "exec ${COPROC[1]}>&-"; wait; cat <(echo one) <(echo two)
'
