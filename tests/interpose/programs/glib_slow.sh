# GLib's own tests, the slow ones: condition variables, locks, timeouts, main loops, subprocesses.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: /usr/libexec/installed-tests/glib/hash xargs
# seconds: 300
# extra
cat > one <<'END'
status=0; "/usr/libexec/installed-tests/glib/$1" < /dev/null > "out.$1" 2> "err.$1" || status=$?
echo "$1: exit status $status, $(grep -c '^ok' "out.$1") ok, $(grep -c '^not ok' "out.$1") not ok"
[ $status -eq 0 ] || tail -n 5 "out.$1" "err.$1" >&2
END
echo cond gsubprocess mainloop rec-mutex rwlock sequence thread-deprecated timeout unix |
	tr ' ' '\n' | xargs -P 2 -n 1 sh one | sort
