# node: JSON, buffers, workers, children, compression, streams.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: node
# seconds: 90
cat > t.js <<'END'
const { Worker, isMainThread, parentPort } = require('worker_threads'), zlib = require('zlib'), crypto = require('crypto'), cp = require('child_process');
if (!isMainThread) { let m = new Map(); for (let i = 0; i < 100000; i++) m.set('k' + i % 5003, Buffer.alloc(i % 200, i)); parentPort.postMessage(m.size); }
else (async () => {
  const data = Array.from({ length: 50000 }, (_, i) => ({ id: i, name: 'n' + i, tags: ['a', 'b', String(i)] }));
  const text = JSON.stringify(data); console.log(text.length, JSON.parse(text)[777].name);
  console.log(crypto.createHash('sha256').update(text).digest('hex'));
  const z = zlib.gzipSync(text); console.log(zlib.gunzipSync(z).length, zlib.brotliDecompressSync(zlib.brotliCompressSync(text.slice(0, 200000))).length);
  let total = 0; for (let i = 0; i < 3000; i++) total += Buffer.alloc(i * 10, 1).reduce((a, b) => a + b, 0); console.log(total);
  console.log(await Promise.all([1, 2, 3].map(() => new Promise((ok, no) => { const w = new Worker(__filename); w.on('message', ok); w.on('error', no); }))));
  console.log(cp.execSync('echo from a child').toString().trim());
  await Promise.all(Array.from({ length: 50 }, (_, i) => new Promise(ok => crypto.pbkdf2('p', 's' + i, 200, 64, 'sha512', ok)))); console.log('done');
})();
END
node t.js
