// Objects, arrays, JSON, strings and array buffers, as a server in JavaScript makes them.
'use strict';
let state = 12345;
const draw = (n) => (state = (state * 48271) % 2147483647) % n;
let total = 0;
const live = new Map();
for (let i = 0; i < 60; i++) {
  const rows = Array.from({length: 1500}, (_, j) => ({
    id: j, name: 'name ' + draw(1e6), tags: Array.from({length: 6}, () => 't' + draw(50)), body: 'x'.repeat(draw(500)),
  }));
  const text = JSON.stringify(rows);
  total += JSON.parse(text).filter((row) => row.body.length > 100).length;
  for (let j = 0; j < 200; j++) {
    const buffer = Buffer.from(text.slice(draw(1000), 1000 + draw(60000)));
    live.set(draw(300), buffer);
    total += new Uint8Array(draw(40000) + 1).length + buffer.length;
  }
}
console.log(total, live.size);
