# GLib's own tests as Debian ships them: blocks, strings, tables, threads, main loops, variants, signals, children.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: /usr/libexec/installed-tests/glib/hash xargs
# seconds: 150
cat > one <<'END'
status=0; "/usr/libexec/installed-tests/glib/$1" < /dev/null > "out.$1" 2> "err.$1" || status=$?
echo "$1: exit status $status, $(grep -c '^ok' "out.$1") ok, $(grep -c '^not ok' "out.$1") not ok"
[ $status -eq 0 ] || tail -n 5 "out.$1" "err.$1" >&2
END
echo array-test asyncqueue base64 bitlock bytes cache charset checksum convert dataset error gvariant hash hmac hook \
	keyfile list logging mapping markup-parse mem-overflow memchunk node once option-context pattern queue rcbox \
	refcount regex scannerapi shell slice slist sort spawn-multithreaded spawn-singlethread \
	spawn-path-search strfuncs string strvbuilder thread thread-pool tree unicode uri utf8-misc private signals \
	threadtests properties param memory-input-stream memory-output-stream task converter-stream completion |
	tr ' ' '\n' | xargs -P 2 -n 1 sh one | sort
