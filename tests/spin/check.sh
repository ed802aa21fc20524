#!/bin/sh
# check.sh SPIN MODEL pass|find [-DX=Y ...]: runs a model through all its states in a folder of its own.
# pass: spin finds no error, and searched to the end; find: it finds one. A model without states fails either way.
set -eu
spin=$1 model=$2 wanted=$3
shift 3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$spin" "$@" -run -m1000000 -safety "$model" > out 2>&1 || true
grep -E "^pan:|errors:|states, stored|depth" out || cat out
if ! grep -Eq "^ *[1-9][0-9.e+]* states, stored" out; then
	echo "no state was looked at"
	exit 1
fi
case $wanted in
pass) grep -q "errors: 0$" out && ! grep -Eq "max search depth too small|Search not completed|out of memory" out ;;
find) grep -Eq "errors: [1-9]" out && grep -q "assertion violated" out ;;
*) exit 1 ;;
esac
