# dash: a shell that forks for everything.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: dash seq expr
# seconds: 60
exec dash -c '
i=0; while [ $i -lt 150 ]; do i=$(expr $i + 1); x=$(echo $x$i | tail -c 40); done; echo $x
seq 1 20000 | while read n; do [ $((n % 4000)) -eq 0 ] && echo $n; :; done
f() { [ $1 -eq 0 ] || f $(($1 - 1)); }; f 300; echo deep
cat <<END | tr a-z A-Z
here $(echo nested "$(echo twice)")
END
'
