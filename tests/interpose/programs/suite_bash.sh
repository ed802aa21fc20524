# bash's own tests, on the bash that is installed: which of them print what bash expects (some never do here: locales,
# root).
# leaves out: all, minimal, gprof: each runs the others
# leaves out: jobs, read: want a terminal
# leaves out: trap, func, ifs-posix: sleep or work for 5 to 15 seconds
# leaves out: posixpipe: prints how long a command took
# leaves out: nameref: prints a random number
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: bash cc xargs
# source: bash
# seconds: 150
cp -a "$SOURCE/tests" t; cd t
printf '#define HAVE_STRING_H 1\n#define HAVE_STDLIB_H 1\n#define STDC_HEADERS 1\n#define PROTOTYPES 1\n' > config.h
for h in recho zecho printenv xcase; do cc -w -I. -I"$SOURCE/include" -I"$SOURCE" "$SOURCE/support/$h.c" -o $h; done
cat > one <<'END'
name=${1#run-}; least=
for try in 1 2 3; do # some depend on the second in which they run: the best of three counts
	mkdir "../tmp.$name.$try"; export TMPDIR="$PWD/../tmp.$name.$try" BASH_TSTOUT="$PWD/../out.$name.$try"
	timeout -k 1 60 sh "$1" > "../log.$name" 2>&1 < /dev/null || [ $? -ne 124 ] || echo "$name: out of time"
	now=$(grep -c '^[<>]' "../log.$name") || true
	[ -n "$least" ] && [ "$least" -le "$now" ] || least=$now
	[ "$least" -ne 0 ] || break
done
[ "$least" -ne 0 ] || echo "$name: as expected"
END
export THIS_SH=/bin/bash BUILD_DIR="$PWD" PATH="$PWD:$PATH"
sed -n 's/^# leaves out: \([^:]*\):.*/\1/p' "$0" | tr -d ' ' | tr , '\n' | sed 's/^/run-/' > left
[ "$(wc -l < left)" -le 10 ]
printf '%s\n' run-* | grep -vxFf left | xargs -P 4 -n 1 sh one | sort > ../all
[ "$(wc -l < ../all)" -ge 40 ]; cat ../all
