# python3: every object by malloc (PYTHONMALLOC=malloc), threads, processes, ctypes, sqlite3, compression.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: python3
# seconds: 120
cat > t.py <<'END'
import array, bz2, concurrent.futures, ctypes, decimal, gc, json, lzma, os, pickle, random, re, sqlite3, subprocess, sys, threading, zlib
random.seed(1)
data = [{"id": i, "name": "n%d" % i, "tags": [str(j) for j in range(i % 7)], "x": i / 7} for i in range(20000)]
text = json.dumps(data); assert json.loads(text) == data; print(len(text))
blob = pickle.dumps(data); assert pickle.loads(blob) == data; print(len(blob))
for m in (zlib, bz2, lzma): assert m.decompress(m.compress(blob[:300000])) == blob[:300000]
print(len(re.findall(r"(\d)\1", text)))
def work(n):
    d = {}
    for i in range(30000): d[(i * n) % 5003] = "v" * (i % 300)
    return sum(map(len, d.values()))
with concurrent.futures.ThreadPoolExecutor(6) as pool: print(list(pool.map(work, range(1, 7))))
c = sqlite3.connect(":memory:"); c.execute("create table t(a,b)"); c.executemany("insert into t values(?,?)", ((i, "x" * (i % 90)) for i in range(30000)))
print(c.execute("select sum(a), sum(length(b)) from t where a % 3 = 0").fetchone())
decimal.getcontext().prec = 500; print(str(decimal.Decimal(2).sqrt())[-20:])
print((3 ** 400000) % 1000003)
class Node:
    def __init__(self, n): self.n, self.me = n, self
for r in range(5): [Node(i) for i in range(20000)]; gc.collect()
libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; libc.free.argtypes = [ctypes.c_void_p]
for i in range(1000): libc.free(libc.malloc(i * 100))
for i in range(5):
    pid = os.fork()
    if pid == 0: x = [str(j) for j in range(20000)]; os._exit(len(x) % 251)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), end=" ")
print(subprocess.run([sys.executable, "-c", "print('child', sum(range(1000)))"], capture_output=True, text=True).stdout)
a = array.array("d", range(1000)); [a.extend(a[:1000]) for _ in range(500)]; print(len(a))
END
PYTHONMALLOC=malloc python3 t.py
python3 t.py | cksum
