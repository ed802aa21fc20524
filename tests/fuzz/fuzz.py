#!/usr/bin/env python3
"""Runs a libFuzzer target for some seconds over a copy of its corpus; what fails is kept and named.

usage: fuzz.py SECONDS CORPUS TARGET
HYPOOL_FUZZ_SECONDS in the environment: that many instead.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile


def main():
    seconds, corpus, target = int(os.environ.get("HYPOOL_FUZZ_SECONDS", sys.argv[1])), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        work, kept = os.path.join(folder, "corpus"), tempfile.gettempdir()
        shutil.copytree(corpus, work)
        longest = max([4096] + [entry.stat().st_size for entry in os.scandir(work)])
        prefix = os.path.join(kept, f"hypool-{os.path.basename(target)}-")
        done = subprocess.run([target, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048",
                               f"-max_len={longest}", "-print_final_stats=1", f"-artifact_prefix={prefix}", work],
                              stderr=subprocess.PIPE, text=True, errors="replace")
    lines = done.stderr.splitlines()
    if done.returncode != 0:
        print("\n".join(lines[-60:]))
        return 1
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    print(f"{runs.group(1) if runs else 0} inputs in {seconds} s")
    return 0 if runs and int(runs.group(1)) > 100 else 1


if __name__ == "__main__":
    sys.exit(main())
