# Programs that are setuid: the dynamic linker drops the library there, and all must work as before.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: su runuser id
# seconds: 30
runuser -u nobody -- su --version | head -1
runuser -u nobody -- sh -c 'su root -c id < /dev/null' > /dev/null 2>&1 || echo refused
runuser -u nobody -- id -un
runuser -u nobody -- passwd -S nobody | cut -d' ' -f1
