# chromium, headless: a page with script is laid out and its document printed; renderer and GPU processes are children.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: chromium /usr/lib/chromium/chromium
# seconds: 120
cat > p.html <<'END'
<html><body><p id=a></p><canvas id=c></canvas><script>
let m = new Map(); for (let i = 0; i < 100000; i++) m.set('k' + i % 5003, {i, s: 'x'.repeat(i % 50)});
document.getElementById('a').textContent = 'size ' + m.size; document.getElementById('c').getContext('2d').fillRect(0, 0, 9, 9);
</script></body></html>
END
HOME=$PWD timeout 100 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/u" --virtual-time-budget=2000 --dump-dom "file://$PWD/p.html" 2> err | tr -d '\n' | sed 's/<script.*//'
echo
