# xmllint, ssh-keygen, vim, tmux: libraries and terminals.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: xmllint ssh-keygen vim tmux
# seconds: 60
{ echo '<?xml version="1.0"?><r>'; seq 20000 | sed 's|.*|<e a="&"><b>&</b></e>|'; echo '</r>'; } > f.xml
xmllint --format f.xml | cksum; xmllint --xpath 'count(//e[@a mod 7 = 0])' f.xml
ssh-keygen -q -t ed25519 -N '' -C t -f k; ssh-keygen -y -f k | cut -c1-20
seq 5000 > v; vim -u NONE -es -c '%s/\(.\)$/<\1>/' -c 'g/33/d' -c 'sort! n' -c wq v < /dev/null || true; cksum < v
tmux -L hypool -f /dev/null new-session -d -x 80 -y 20 'echo in the terminal; sleep 5'; sleep 0.7; tmux -L hypool capture-pane -p | head -1; tmux -L hypool kill-server
