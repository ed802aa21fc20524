#!/usr/bin/env python3
"""Real programs, run from first to last instruction under the library, beside the same run without it (SPEC A2).

Each case is a shell script in programs/: one program or family, deterministic in what it prints. Its head says
    # needs: TOOL TOOL ...    what must be installed; else the case is skipped, loudly, with exit status 77
    # seconds: N              its time limit, for each of the two runs
    # extra                   only with --all or HYPOOL_TEST_LONG=1
    # source: NAME            the program's own test suite: wants its source, unpacked in $HYPOOL_SOURCES/NAME by
                              `./bootstrap test`, and finds it in $SOURCE; without it the case is skipped
    # leaves out: NAMES: WHY   of its own tests; printed beside the verdict
    # judges itself           a test suite: exit status 0 is enough, 77 skips; it runs without the library only if it failed
The script runs twice in fresh folders, the shell itself included. It passes when exit status and descriptor 1 are the
same, and nothing that begins "hypool: " came on descriptor 2. Before that, each needed tool that is an ELF file is
asked (LD_TRACE_LOADED_OBJECTS) whether the library really is loaded into it: a check that looked at nothing fails.

    programs.py --lib libhypool-preload.so [NAME ...]      all of the default set: about 4 minutes on 2 cores
    programs.py --list [--all]
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
SKIP = 77


class Case:
    def __init__(self, name):
        self.name = name
        self.path = os.path.join(folder, name + ".sh")
        with open(self.path, encoding="utf-8") as file:
            head = "".join(line for line in file if line.startswith("#"))
        needs = re.search(r"^# needs: (.*)$", head, re.M)
        seconds = re.search(r"^# seconds: (\d+)$", head, re.M)
        if not needs or not seconds:
            sys.exit(f"{self.path}: the head names no needs or no seconds")
        self.needs = needs[1].split()
        self.seconds = int(seconds[1])
        self.extra = bool(re.search(r"^# extra$", head, re.M))
        self.leaves_out = re.findall(r"^# leaves out: (.*)$", head, re.M)
        self.judges_itself = bool(re.search(r"^# judges itself$", head, re.M))
        source = re.search(r"^# source: (\S+)$", head, re.M)
        self.source = os.path.join(os.environ.get("HYPOOL_SOURCES", ""), source[1]) if source else ""


def cases(every):
    found = [Case(f[:-3]) for f in sorted(os.listdir(folder)) if f.endswith(".sh")]
    return [c for c in found if every or not c.extra]


def search_path():
    """Debian's places first: what stands elsewhere may be a wrapper of somebody's."""
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    places += ["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return ":".join(places + [p for p in os.environ.get("PATH", "").split(":") if p not in places])


def environment(lib):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LD_PRELOAD", "HYPOOL", "MALLOC_"))}
    env.update(LC_ALL="C.UTF-8", TZ="UTC", PATH=search_path())
    if lib:
        env["LD_PRELOAD"] = lib
    return env


def loaded_into(tool, lib):
    """None where it cannot be said (a script), else whether the dynamic linker loads the library into the tool."""
    path = os.path.realpath(shutil.which(tool, path=search_path()))
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
    env = {**environment(lib), "LD_TRACE_LOADED_OBJECTS": "1"}
    done = subprocess.run([path], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return lib in done.stdout


def run(case, lib):
    """Exit status (None: out of time), descriptor 1, descriptor 2, seconds."""
    with tempfile.TemporaryDirectory(prefix="hypool-program-") as place:
        os.chmod(place, 0o755)
        begin = time.monotonic()
        child = subprocess.Popen(["/bin/sh", "-eu", case.path], cwd=place, stdin=subprocess.DEVNULL,
                                 env={**environment(lib), "SOURCE": case.source}, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = child.communicate(timeout=case.seconds)
            status = child.returncode
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(child.pid, signal.SIGKILL)  # the session that was started above, with whatever a script left
        except ProcessLookupError:
            pass
        if status is None:
            out, err = child.communicate()
        text = out.decode(errors="replace").replace(place, "PLACE")
        return status, text, err.decode(errors="replace"), time.monotonic() - begin


def difference(plain, ours):
    both = zip(plain.splitlines() + [""], ours.splitlines() + [""])
    differing = [f"without {a[:200]!r}, with {b[:200]!r}" for a, b in both if a != b]
    if differing:
        return "the first differences: " + "; ".join(differing[:4])
    return f"{len(plain)} bytes without, {len(ours)} with"


def unasked(result):
    return [line for line in result[2].splitlines() if line.startswith("hypool: ")]


def judge(case, lib):
    """(verdict, text)"""
    missing = [tool for tool in case.needs if not shutil.which(tool, path=search_path())]
    if missing:
        return "SKIPPED", f"not installed: {' '.join(missing)}"
    if case.source and not os.path.isdir(case.source):
        return "SKIPPED", f"the source of {os.path.basename(case.source)} is not in $HYPOOL_SOURCES"
    not_loaded = [tool for tool in case.needs if lib and loaded_into(tool, lib) is False]
    if not_loaded:
        return "FAILED", f"the library is not loaded into {' '.join(not_loaded)} (static?)"
    if case.judges_itself:
        ours = run(case, lib)
        if ours[0] == 0 and ours[1] and not unasked(ours):
            return "ok", f"{ours[3]:.1f} s: {ours[1].strip()}"
        if ours[0] == SKIP:
            return "SKIPPED", ours[1].strip()
    plain = run(case, "")
    if plain[0] != 0 or not plain[1]:
        return "FAILED", f"without the library: exit status {plain[0]}\n{plain[1][-1500:]}{plain[2][-1500:]}"
    if not case.judges_itself:
        ours = run(case, lib)
    times = f"{plain[3]:.1f} s without, {ours[3]:.1f} s with"
    if ours[0] == 0 and ours[1] == plain[1] and not unasked(ours) and not case.judges_itself:
        return "ok", times
    why = "out of time" if ours[0] is None else f"exit status {ours[0]}"
    return "FAILED", (f"{why}; {difference(plain[1], ours[1]) if ours[1] != plain[1] else 'same output'}; {times}\n"
                      + "\n".join(unasked(ours)) + "\n" + ours[2][-2500:])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", default="")
    p.add_argument("--list", action="store_true")
    p.add_argument("--all", action="store_true", default=os.environ.get("HYPOOL_TEST_LONG") == "1")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    chosen = [Case(n) for n in a.names] or cases(a.all)
    if a.list:
        print("\n".join(f"{c.name} {c.seconds}" for c in chosen))
        return 0
    lib = os.path.abspath(a.lib) if a.lib else ""
    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for case, (verdict, text) in zip(chosen, pool.map(lambda c: judge(c, lib), chosen)):
            print(f"{verdict:8}{case.name:16}{text}", flush=True)
            for line in case.leaves_out if verdict != "SKIPPED" else []:
                print(f"        left out: {line}", flush=True)
            verdicts.append(verdict)
    counts = {v: verdicts.count(v) for v in ("ok", "FAILED", "SKIPPED")}
    if len(chosen) > 1: # the last line of a single one says why it was skipped
        print(f"{counts['ok']} passed, {counts['FAILED']} failed, {counts['SKIPPED']} skipped")
    if counts["FAILED"] or not verdicts:
        return 1
    return SKIP if counts["ok"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
