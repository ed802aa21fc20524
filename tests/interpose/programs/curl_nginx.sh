# nginx with two workers, and curl: 400 requests over a unix socket, reload under use, quit.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: nginx curl cksum
# seconds: 60
mkdir www logs; chmod 755 .; seq 50000 > www/f; chmod -R a+rX www
cat > c <<END
user root; worker_processes 2; pid $PWD/pid; error_log $PWD/logs/e; daemon on;
events { worker_connections 64; }
http { access_log off; gzip on; gzip_min_length 1; gzip_types *; server { listen unix:$PWD/s; root $PWD/www; location /echo { return 200 "\$arg_x\n"; } } }
END
nginx -p "$PWD" -c "$PWD/c" 2> /dev/null
curl -s --unix-socket s http://h/f | cksum
for i in $(seq 5); do curl -s --unix-socket s "http://h/echo?x=[1-40]" | cksum; done
curl -s --compressed --unix-socket s http://h/f | cksum
nginx -p "$PWD" -c "$PWD/c" -s reload 2> /dev/null; sleep 0.5
curl -s --parallel --unix-socket s "http://h/f" "http://h/f" "http://h/f" -o a -o b -o d; cat a b d | cksum
curl -s -o /dev/null -w '%{http_code}\n' --unix-socket s http://h/none
nginx -p "$PWD" -c "$PWD/c" -s quit 2> /dev/null; for i in $(seq 50); do [ -e pid ] || break; sleep 0.1; done; [ -e pid ] || echo gone
grep -c 'exited on signal' logs/e || true
curl --version | head -1 | cut -d' ' -f1
