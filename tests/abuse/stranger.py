#!/usr/bin/env python3
"""Corruptions as a stranger would write them, under hypool's default level and under every other allocator here.

The bar: no row in which a fast allocator stops the program, and hypool does not. What the default level need not stop is
named below (BEYOND), each with its reason.

    stranger.py --lib libhypool-preload.so --program stranger            hypool alone, as the tests run it
    stranger.py --lib ... --program ... --peers [--rounds N]             and the others, for comparison
    stranger.py --lib ... --program ... --peers --markdown               the table at the end of docs/design/misuse.md
Stopped means that the program died of a signal; a hang is not. Exit status 1: hypool let a row pass.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys

SMALL = [24, 1000]
PEERS = {"glibc": None, "jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2",
         "tcmalloc": "libtcmalloc_minimal.so.4"}


def rows():
    every = [*SMALL, 5000, 40000, 200000, 3000000]
    for kind in ["double", "double_between", "double_full_cache", "double_after_big", "double_after_trim", "double_merged",
                 "double_of_thread", "double_realloc", "realloc_zero", "realloc_freed", "double_key_cleared",
                 "double_first_cleared", "double_written", "double_between_written", "double_full_cache_written"]:
        for size in every:
            yield f"{kind} {size}"
    for kind in ["interior", "before", "realloc_interior", "usable_interior"]:
        for size in every:
            for at in [1, 8, 16, 64, size // 32 * 16]:
                if 0 < at < size:
                    yield f"{kind} {size} {at}"
    for size in every:
        yield f"behind {size} 16"
    for kind in ["fake_static", "fake_stack", "fake_mapped", "fake_in_block"]:
        yield kind
    for call in ["free", "realloc", "usable"]:
        for kind in ["stack", "static", "tls", "code", "mmap", "mmap_inside", "unmapped", "noncanonical", "above_user", "kernel",
                     "all_ones", "low", "one", "first_pages"]:
            yield f"{call}_of_{kind}"
    for kind in ["sized_less", "sized_more"]:
        for size in every:
            yield f"{kind} {size}"
    for size in every:
        for at, count in [(0, 8), (0, 16), (8, 8), (16, 8), (16, 16), (24, 8), (64, 8), (0, size)]:
            if at + count <= size:
                for kind in ["written_free", "written_free_zero", "written_free_cached", "written_free_sorted"]:
                    yield f"{kind} {size} {at} {count}"
        for at in [0, 16, 8, 1]:
            yield f"poison {size} {at}"
        yield f"poison_self {size}"
        yield f"swap_links {size}"
        yield f"read_free {size} 0"
    for kind in ["overflow_next_freed_after", "overflow_next_was_free", "overflow_then_free", "overflow_then_realloc",
                 "overflow_then_realloc_next", "overflow_last", "underflow_free", "underflow_realloc"]:
        for size in every:
            for count in [1, 8, 16, 64, 4096]:
                if kind[0] != "u" or count <= size:
                    yield f"{kind} {size} 0 {count}"
    for size in every:
        yield f"overflow_zero_byte {size}"


# Rows that hypool's default level need not stop, by regular expression, and why; the stronger levels do.
BEYOND = {
    r"written_\w+ \d+ (16|24|64) \d+": "behind a free block's two words nothing is looked at below level 2",
    r"(written_\w+|poison\w*|swap_links|overflow_last|overflow_next_was_free) 3000000.*":
        "a freed large block holds no words of hypool's, and stays mapped for the next request of its size",
    r"read_free .*": "reads are stopped by guard pages alone",
    r"overflow_(next_freed_after|then_\w+|zero_byte) .*": "no header stands between live blocks; canaries from level 2 on",
    r"underflow_.*": "no header stands in front of a block; canaries from level 2 on",
    r"sized_.*": "the C++ runtime's sized delete drops the size; hyp_free_sized and free_sized compare it",
    r"written_free(_zero|_cached)? \d+ 8 8": "of the block freed last the first word is looked at alone",
}
# Where a fast allocator stops such a row by the luck of its layout, or from time to time.
LUCK = r"sized_more 1000|underflow_\w+ 3000000 0 4096"
FAST = ["jemalloc", "mimalloc", "tcmalloc"]


def why_beyond(row):
    return next((why for pattern, why in BEYOND.items() if re.fullmatch(pattern, row)), None)


def find(library):
    for where in ["/usr/lib/*-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib"]:
        for path in glob.glob(os.path.join(where, library)):
            return path
    return None


def outcome(program, row, library):
    """How a program ended: what it said, the signal, or 'no'."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "HYPOOL_TEST_LIB", "HYPOOL_HARDEN")}
    env["HYPOOL_GUARD"] = "0"  # what is told by chance, once in thousands of runs, counts for nothing
    if library:
        env["LD_PRELOAD"] = library
    try:
        done = subprocess.run([program, *row.split()], env=env, capture_output=True, text=True, errors="replace", timeout=20,
                              check=False)
    except subprocess.TimeoutExpired:
        return "no (hangs)"
    if done.returncode < 0:
        line = next((l for l in done.stderr.splitlines() if l.strip()), "")
        line = re.sub(r"0x[0-9a-f]+.*", "", line.replace("|", "/")).strip()[:60]
        return line or signal.Signals(-done.returncode).name
    return {3: "no", 77: "-"}.get(done.returncode, f"no (ended with {done.returncode})")


def stopped(text):
    return not text.startswith("no") and text != "-"


def run_all(a, names, table):
    """{row: {allocator: [how it ended, a round each]}}"""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {(row, name): [pool.submit(outcome, a.program, row, library) for _ in range(a.rounds)]
                for row in table for name, library in names.items()}
        return {row: {name: [j.result() for j in jobs[row, name]] for name in names} for row in table}


def markdown(seen):
    """Kinds of rows by allocator: how many of the rows of each are stopped."""
    names = list(next(iter(seen.values())))
    kinds = {}
    for row, cells in seen.items():
        kind = re.sub(r"^(free_of|realloc_of|usable_of|fake)_(stack|static|tls|code|m|un|n|a|k|l|o|f|in).*", r"\1_...", row.split()[0])
        counts = kinds.setdefault(kind, [0] * (len(names) + 1))
        counts[0] += 1
        for i, name in enumerate(names):
            counts[i + 1] += all(stopped(c) for c in cells[name])
    print("\n## Beside other allocators\n")
    print("Made by `tests/abuse/stranger.py --peers --markdown`: corruptions as somebody who knows those allocators' checks")
    print("would write them (tests/abuse/stranger.c says what each kind does), in several sizes and places each, followed by a")
    print("piece of ordinary work. A cell says how many of a kind's rows end the program at its default settings, by a message")
    print("or by a signal, in time or by luck.\n")
    print(f"| kind | rows | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for kind, counts in kinds.items():
        print(f"| {kind} | {' | '.join(map(str, counts))} |")
    print("\nWhat the default level does not stop, and why:\n")
    for pattern, why in BEYOND.items():
        print(f"- `{pattern.replace('|', ', ')}`: {why}")


def compare(seen):
    """Rows that a fast allocator stops and hypool does not. glibc, with a header at each block, is told apart."""
    worse = 0
    for row, cells in seen.items():
        if all(stopped(c) or c == "-" for c in cells["hypool"]):
            continue
        others = [n for n in cells if n != "hypool" and all(stopped(c) for c in cells[n])]
        fast = [n for n in others if n in FAST and not re.fullmatch(LUCK, row)]
        worse += bool(fast)
        if others:
            print("WORSE" if fast else "glibc" if "glibc" in others else "luck ", row, {n: cells[n][0] for n in others},
                  why_beyond(row) or "")
    print(f"{len(seen)} rows, {worse} in which a fast allocator stops what hypool does not")
    return worse


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", required=True)
    p.add_argument("--program", required=True)
    p.add_argument("--peers", action="store_true")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--markdown", action="store_true")
    p.add_argument("--only", default="", help="regular expression of rows")
    a = p.parse_args()
    names = {"hypool": os.path.abspath(a.lib)}
    if a.peers:
        names.update({n: find(l) if l else None for n, l in PEERS.items() if l is None or find(l)})
    table = [row for row in rows() if re.search(a.only, row) and (a.peers or not why_beyond(row))]
    seen = run_all(a, names, table)
    if a.markdown:
        markdown(seen)
        return 0
    if a.peers:
        return compare(seen) > 0
    passed = [row for row, cells in seen.items() if not all(stopped(c) or c == "-" for c in cells["hypool"])]
    for row in passed:
        print(f"FAIL {row}: {seen[row]['hypool']}")
    print(f"{len(table)} rows, {len(passed)} not stopped")
    return bool(passed) or not table


if __name__ == "__main__":
    sys.exit(main())
