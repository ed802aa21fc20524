# Programs that are setuid: the dynamic linker drops the library there, and all must work as before.
# needs: su runuser id
# seconds: 30
runuser -u nobody -- su --version | head -1
runuser -u nobody -- sh -c 'su root -c id < /dev/null' > /dev/null 2>&1 || echo refused
runuser -u nobody -- id -un
runuser -u nobody -- passwd -S nobody | cut -d' ' -f1
