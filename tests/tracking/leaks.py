#!/usr/bin/env python3
"""Planted leaks are all found and none invented: by call site, in blocks and bytes; suppressions; the exit status."""
import re

from common import PROGRAMS, check, hypool, main, preloaded, report, scratch

PLANTED = {"lost_objects": (13, 1300), "lost_cycle": (2, 96), "lost_in_thread": (7, 35000), "lost_large": (1, 3 << 20),
           "lost_and_known": (5, 320)}


def found(text):
    """{function: (blocks, bytes)} of a leak report; the function is the first that is not operator new."""
    sites = {}
    for size, count, stack in re.findall(r"^(\d+) bytes in (\d+) blocks lost.*?:\n((?:    #.*\n)+)", text, re.M):
        names = re.findall(r"#\d+ (\S.*?)(?:\(| \()", stack)
        name = next(n for n in names if not n.startswith("operator new"))
        blocks, total = sites.get(name, (0, 0))
        sites[name] = (blocks + int(count), total + int(size))
    return sites


def at_exit():
    done = preloaded(PROGRAMS["planted"], {"leaks": 1}, status=3)
    check(found(done.stderr) == PLANTED, done.stderr)
    blocks, total = (sum(v[i] for v in PLANTED.values()) for i in (0, 1))
    check(f"{total} bytes in {blocks} blocks lost at 6 call sites" in done.stderr, done.stderr)


def confidence():
    """Certain when every allocation was followed; else by the number of samples, as the square root has it."""
    done = preloaded(PROGRAMS["planted"], {"leaks": 1}, status=3)
    check(set(re.findall(r"first made \d+ ms and last \d+ ms after the start, confidence (\d+) %", done.stderr)) == {"100"}, done.stderr)
    done = hypool("run", "--quiet", "--leaks", "--mean", "4K", "--report", scratch("some"), "--", PROGRAMS["planted"], status=3)
    check(done.stderr == "", done.stderr)
    sites = [s for s in report(scratch("some"))["sites"] if s["lost_count"]]
    check(sites and all(s["confidence"] <= 100 for s in sites), sites)
    for s in sites:
        if any("lost_in_thread" in f for f in s["stack"]):  # at most 7 samples: less than 1 - 1 / sqrt(7)
            check(s["confidence"] <= 62, s)


def clean_is_quiet():
    done = preloaded(PROGRAMS["planted"], {"leaks": 1, "leak_exit_code": 23}, "clean", status=3)
    check(done.stderr == "", done.stderr)


def suppressed():
    with open(scratch("known"), "w", encoding="utf-8") as file:
        file.write("# what we know\nleak:lost_and_*\n\nleak:^lost_large\n")
    done = preloaded(PROGRAMS["planted"], {"leaks": 1, "leak_suppressions": scratch("known")}, status=3)
    check(set(found(done.stderr)) == set(PLANTED) - {"lost_and_known", "lost_large"}, done.stderr)
    check("in 6 blocks suppressed" in done.stderr, done.stderr)


def exit_status():
    done = preloaded(PROGRAMS["planted"], {"leaks": 1, "leak_exit_code": 23}, status=23)
    check(done.stdout == "planted\n", "what the program printed is lost")


def at_intervals():
    """While the program runs, a report now and then: what is lost grows from one to the next, up to the one at exit."""
    done = preloaded(PROGRAMS["planted"], {"leaks": 1, "leak_interval": "100ms"}, "steadily", status=3)
    reports = re.split(r"^(?=hypool: leaks: )", done.stderr, flags=re.M)[1:]
    lost = [found(text).get("lost_steadily", (0, 0)) for text in reports]
    check(len(lost) >= 3, done.stderr[-3000:])
    check(lost == sorted(lost) and lost[0] < lost[-1], lost)
    check(500 - lost[-1][0] <= 5 and lost[-1][1] == 200 * lost[-1][0], lost)
    last = re.findall(r"first made (\d+) ms and last (\d+) ms", reports[-1])
    check(any(int(b) - int(a) >= 500 for a, b in last), last)  # how it grew over time: from when to when
    one = preloaded(PROGRAMS["planted"], {"leaks": 1}, "steadily", status=3)
    check(one.stderr.count("hypool: leaks: ") == 1, one.stderr)


def budget():
    hypool("run", "--quiet", "--max-leaks", "10M", "--", PROGRAMS["planted"], status=3)
    hypool("run", "--quiet", "--max-leaks", "0", "--report", scratch("r"), "--", PROGRAMS["planted"], status=3)
    data = report(scratch("r"))
    check(sum(s["lost_bytes"] for s in data["sites"]) == sum(v[1] for v in PLANTED.values()))
    check(data["meta"]["exact"] == "1")
    check({a["kind"] for a in data["advice"]} >= {"leak"})
    hypool("run", "--quiet", "--max-leaks", "0", "--", "/bin/true")
    # A program that ends by _exit, as dash does, runs no exit handlers: no report is no proof.
    done = hypool("run", "--quiet", "--max-leaks", "0", "--", "sh", "-c", "true; exit 0", status=120)
    check("nothing is known of leaks" in done.stderr, done.stderr)


main([at_exit, confidence, clean_is_quiet, suppressed, exit_status, at_intervals, budget])
