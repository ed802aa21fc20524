#!/usr/bin/env python3
"""The `hypool` command: statuses and signals passed on, budgets, formats, diff, doctor, top, replay, refusals."""
import gzip
import json
import os
import re
import signal
import subprocess
import time

from common import COMMAND, LIBRARY, PROGRAMS, SCRATCH, call, check, hypool, main, preloaded, report, scratch


def statuses():
    for code in (0, 1, 2, 77, 124, 125):
        hypool("run", "--quiet", "--", "sh", "-c", f"exit {code}", status=code)
    hypool("run", "--quiet", "--", "sh", "-c", "kill -TERM $$", status=-signal.SIGTERM)
    hypool("run", "--quiet", "--", scratch("nowhere"), status=127)
    open(scratch("plain"), "w", encoding="utf-8").close()
    hypool("run", "--quiet", "--", scratch("plain"), status=126)
    hypool("run", "--quiet", "--max-peak", "1K", "--", "true", status=120)
    hypool("run", "--quiet", "--max-peak", "1K", "--", "false", status=1)
    hypool("run", "--quiet", "--max-peak", "1G", "--", "true")
    hypool("run", "--max-peak", "many", "--", "true", status=2)
    hypool("run", status=2)
    hypool("nothing", status=2)
    check("HYPOOL" not in hypool("run", "--quiet", "--", "sh", "-c", "echo out; echo err >&2").stdout)
    hypool("run", "--", "true", env={"HYPOOL_PRELOAD": scratch("none")}, status=125)


def signals():
    child = subprocess.Popen([COMMAND, "run", "--quiet", "--", "sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done"],
                             stdout=subprocess.PIPE)
    child.stdout.readline()
    child.send_signal(signal.SIGUSR1)
    check(child.wait(timeout=20) == 9, "the signal was not passed on")


def streams():
    done = hypool("run", "--quiet", "--", "cat", input="through")
    check(done.stdout == "through" and done.stderr == "", done.stderr)
    os.mkdir(scratch("tmp"))
    hypool("run", "--quiet", "--", "true", env={"TMPDIR": scratch("tmp")})
    check(not os.listdir(scratch("tmp")), "a folder was left behind")


def fields(data):
    """Fields of a protocol buffer message: (number, value or bytes)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = varint()
            yield key >> 3, data[at:at + size]
            at += size


def packed(data):
    return [v for _, v in fields(b"".join(bytes([8]) + part for part in split(data)))]


def split(data):
    start = 0
    for i, byte in enumerate(data):
        if byte < 128:
            yield data[start:i + 1]
            start = i + 1


def formats():
    """The same exact run in every format: totals agree, and the planted function is there."""
    args = ["--mean", "1", "--quiet"]
    totals = {}
    for name in ("own", "p.pb.gz", "p.heap", "p.folded", "p.dhat"):
        hypool("run", *args, "--report", scratch(name), "--", PROGRAMS["planted"], status=3)
    data = report(scratch("own"))
    totals["own"] = sum(s["live_bytes"] for s in data["sites"])
    check(sum(s["bytes"] for s in data["sites"]) == int(data["meta"]["total_bytes"]))

    profile = list(fields(gzip.open(scratch("p.pb.gz")).read()))
    strings = [v.decode() for k, v in profile if k == 6]
    samples = [dict(fields(v)) for k, v in profile if k == 2]
    totals["pprof"] = sum(packed(s[2])[3] for s in samples)
    locations = {dict(fields(v))[1] for k, v in profile if k == 4}
    check(all(set(packed(s[1])) <= locations for s in samples if 1 in s), "a sample names no location")
    check(strings[0] == "" and any("lost_objects" in s for s in strings))
    check(any(re.fullmatch(r"[0-9a-f]{40}", s) for s in strings), "no build id")

    text = open(scratch("p.heap"), encoding="utf-8").read()
    check(text.startswith("heap_v2/1\n") and "MAPPED_LIBRARIES:" in text)
    sites = re.findall(r"^@( 0x[0-9a-f]+)+\n  t\*: (\d+): (\d+) \[(\d+): (\d+)\]", text, re.M)
    usable = sum(int(s[2]) for s in sites)
    check(totals["own"] <= usable <= totals["own"] * 1.25 + 4096, (usable, totals))
    head = re.search(r"t\*: (\d+): (\d+)", text)
    check(int(head[2]) == usable, "the first line is not the sum")

    lines = [line.rsplit(" ", 1) for line in open(scratch("p.folded"), encoding="utf-8").read().splitlines()]
    totals["folded"] = sum(int(v) for _, v in lines)
    check(any(s.startswith("_start;") and "main" in s and "lost_objects" in s for s, _ in lines), lines[:5])

    dhat = json.load(open(scratch("p.dhat"), encoding="utf-8"))
    check(dhat["dhatFileVersion"] == 2 and dhat["bklt"])
    totals["dhat"] = sum(p["eb"] for p in dhat["pps"])
    check(all(0 <= f < len(dhat["ftbl"]) for p in dhat["pps"] for f in p["fs"]))
    check(sum(p["gb"] for p in dhat["pps"]) == int(data["meta"]["peak_live_bytes"]), "at the peak: sites do not add up")
    # The reports are of five runs: what the C library keeps may differ a little.
    check(max(totals.values()) - min(totals.values()) < 8192, totals)


def page():
    hypool("run", "--quiet", "--leaks", "--report", scratch("page.html"), "--", PROGRAMS["planted"], status=3)
    text = open(scratch("page.html"), encoding="utf-8").read()
    check(not re.search(r"src=|href=(?!'#)|https?://|@import|url\(", text), "the page needs something else")
    for part in ("prefers-color-scheme", "viewport", "id=timeline", "id=leaks", "id=flame-peak", "id=flame-live", "id=pools",
                 "id=classes", "id=fragmentation", "lost_objects"):
        check(part in text, part)
    hypool("run", "--quiet", "--report", scratch("page.json"), "--", PROGRAMS["planted"], status=3)
    check(json.load(open(scratch("page.json"), encoding="utf-8"))["hypool_report"] == 1)


def sampled_totals():
    """One sample in 64 KiB of a program that makes some 100 MiB: the estimate is near the statistics' true figure."""
    hypool("run", "--quiet", "--mean", "64K", "--report", scratch("s"), "--", PROGRAMS["patterns"], "sizes")
    data = report(scratch("s"))
    true, estimate = data["stats"]["allocated_bytes"], sum(s["bytes"] + s["slack_bytes"] for s in data["sites"])
    check(true > 50 << 20 and abs(estimate - true) < 0.12 * true, (true, estimate))


def forms():
    """Every option of report and diff does what the manual says; run's summary as JSON; a budget by a list of known leaks."""
    hypool("run", "--quiet", "--mean", "1", "--report", scratch("f"), "--", PROGRAMS["planted"], status=3)
    data, text = report(scratch("f")), hypool("report", "--top", "1", scratch("f")).stdout
    check("live at the end" in text and text.count("\n  100.0 %") + len(re.findall(r"^ +[\d.]+ % ", text, re.M)) <= 6, text)
    check(len(hypool("report", "--top", "9", scratch("f")).stdout) > len(text))
    folded = [line.rsplit(" ", 1) for line in hypool("report", "--folded", scratch("f")).stdout.splitlines()]
    check(sum(int(size) for _, size in folded) == sum(s["live_bytes"] for s in data["sites"]))
    hypool("report", "--html", scratch("f.html"), scratch("f"))
    check("id=flame-live" in open(scratch("f.html"), encoding="utf-8").read())
    hypool("report", "--html", scratch("nowhere/f.html"), scratch("f"), status=1)
    check(len(json.loads(hypool("diff", "--json", "--top", "0", scratch("f"), scratch("f")).stdout)["sites"]) == 0)
    done = json.loads(hypool("run", "--json", "--leaks", "--", PROGRAMS["planted"], status=3).stderr)
    check(done["status"] == 3 and done["signal"] == 0 and done["lost_bytes"] > 3 << 20 and done["report"]["sites"], done)
    with open(scratch("all-known"), "w", encoding="utf-8") as file:
        file.write("leak:lost_\n")
    hypool("run", "--quiet", "--max-leaks", "0", "--suppressions", scratch("all-known"), "--report", scratch("k"), "--",
           PROGRAMS["planted"], status=3)
    check(sum(s["lost_bytes"] for s in report(scratch("k"))["sites"]) == 0)
    data = json.loads(hypool("run", "--quiet", "--option", "timeline:7ms", "--", COMMAND, "doctor", "--json").stdout)
    check({o["name"]: o["value"] for o in data["options"]}["timeline"].startswith("7"), data["options"])


def differ():
    hypool("run", "--quiet", "--mean", "1", "--report", scratch("a"), "--", PROGRAMS["planted"], "clean", status=3)
    hypool("run", "--quiet", "--mean", "1", "--report", scratch("b"), "--", PROGRAMS["planted"], status=3)
    data = json.loads(hypool("diff", "--json", scratch("a"), scratch("b")).stdout)
    top = data["sites"][0]
    check(top["live_bytes"] == 3 << 20 and any("lost_large" in f for f in top["stack"]), top)
    names = {f.split("(")[0] for s in data["sites"] if s["live_bytes"] > 0 for f in s["stack"]}
    check({"lost_objects", "lost_cycle", "lost_in_thread", "lost_large"} <= names, names)
    hypool("diff", "--max-growth", "1M", scratch("a"), scratch("b"), status=1)
    hypool("diff", "--max-growth", "100M", scratch("a"), scratch("b"))
    check("scaled up" not in hypool("diff", scratch("a"), scratch("a")).stdout, "every block was followed")
    hypool("run", "--quiet", "--mean", "64K", "--report", scratch("c"), "--", PROGRAMS["planted"], status=3)
    check("scaled up" in hypool("diff", scratch("a"), scratch("c")).stdout, "one of the two is of samples")


def doctor():
    done = hypool("doctor", "--json", env={"HYPOOL_DECAY": "2s", "HYPOOL_CONF": "arena:2M,decay:3s"})
    data = json.loads(done.stdout)
    options = {o["name"]: o for o in data["options"]}
    check(options["decay"]["value"].startswith("2") and options["decay"]["source"] == "environment", options["decay"])
    check(options["arena"]["source"] == "HYPOOL_CONF" and options["harden"]["source"] == "default")
    features = {f["name"]: f for f in data["features"]}
    check(features["preload library"]["ok"] and features["preload library"]["value"] == os.path.realpath(LIBRARY))
    check("options" in hypool("doctor").stdout)


def top():
    hypool("top", "999999999", status=1)
    child = subprocess.Popen([COMMAND, "run", "--quiet", "--live", "--", PROGRAMS["patterns"], "growth"], stdout=subprocess.PIPE)
    pid = int(child.stdout.readline().split()[1])
    for _ in range(50):
        data = json.loads(hypool("top", "--json", str(pid)).stdout)
        if data["current_bytes"] > 0:
            break
        time.sleep(0.1)
    check(data["pid"] == pid and data["current_bytes"] > 0 and data["classes"], data)
    check("resident" in hypool("top", str(pid)).stdout)
    check(os.stat(f"/dev/shm/hypool.{pid}").st_mode & 0o777 == 0o600)
    child.wait()
    check(not os.path.exists(f"/dev/shm/hypool.{pid}"), "the page was left behind")
    sleeper = subprocess.Popen(["sleep", "5"])
    check("keeps no live statistics" in hypool("top", str(sleeper.pid), status=1).stderr)
    sleeper.kill()
    sleeper.wait()


def replay():
    hypool("run", "--quiet", "--record", scratch("trace"), "--report", scratch("t"), "--", PROGRAMS["planted"], status=3)
    live = report(scratch("t"))
    data = json.loads(hypool("replay", "--json", scratch("trace")).stdout)
    check(data["peak_bytes"] == int(live["meta"]["peak_live_bytes"]), (data, live["meta"]))
    check(data["unknown_frees"] == 0 and data["allocations"] == sum(s["count"] for s in live["sites"]))
    again = json.loads(hypool("replay", "--json", scratch("trace"), env={"LD_PRELOAD": LIBRARY}).stdout)
    check(again["peak_bytes"] == data["peak_bytes"])
    with open(scratch("bad"), "wb") as file:
        file.write(b"hyptrac2" + bytes(100))
    hypool("replay", scratch("bad"), status=1)


def refusals():
    """Cut, flipped and foreign reports are refused, never crash."""
    hypool("run", "--quiet", "--mean", "1", "--report", scratch("whole"), "--", PROGRAMS["planted"], status=3)
    whole = open(scratch("whole"), "rb").read()
    check(whole.endswith(b"\nend\n"))
    seed = 12345
    for i in range(60):
        seed = seed * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        data = bytearray(whole)
        if i % 3 == 0:
            data = data[:seed % len(data)]
        else:
            for k in range(3):
                data[(seed >> 7 * k) % len(data)] = (seed >> 40 + k) & 255
        with open(scratch("broken"), "wb") as file:
            file.write(data)
        done = hypool("report", scratch("broken"), status=None)
        check(done.returncode in (0, 1), (i, done.returncode))
        check(i % 3 != 0 or done.returncode == 1, "a cut report was taken")
    # What is printed as it is may hold no markup.
    lines = [b"stat x 1<blink>", b"advice <blink> 1 text", b"anomaly <blink> 1 2 3 4"]
    for line in lines + [b"meta pid <blink>", b"advice kind 1 <blink>"]:
        with open(scratch("marked"), "wb") as file:
            file.write(whole.replace(b"\n", b"\n" + line + b"\n", 1))
        hypool("report", "--html", scratch("marked.html"), scratch("marked"), status=1 if line in lines else 0)
        if line not in lines:
            check("<blink>" not in open(scratch("marked.html"), encoding="utf-8").read(), line)
    for command in ("report", "replay"):
        done = hypool(command, scratch("nothing"), status=1)
        check(f"cannot read {scratch('nothing')}: No such file" in done.stderr, done.stderr)
    hypool("report", "/bin/true", status=1)


def by_options():
    """Without the command: options alone; nothing by default."""
    done = preloaded(PROGRAMS["planted"], {}, status=3, cwd=SCRATCH.name)
    check(done.stderr == "" and not [f for f in os.listdir(SCRATCH.name) if f.endswith(".hyp")])
    preloaded(PROGRAMS["planted"], {"profile": 1}, status=3, cwd=SCRATCH.name)
    check(len([f for f in os.listdir(SCRATCH.name) if re.fullmatch(r"hypool\.\d+\.hyp", f)]) == 1)
    for level in range(5):
        check(preloaded(PROGRAMS["planted"], {"track": level}, status=3, cwd=SCRATCH.name).stderr == "")


def bench():
    data = json.loads(hypool("bench", "--json").stdout)
    check(len(data) > 5 and all(0 < row["hypool_ns"] < 1e6 for row in data))


def pages():
    for command in ("run", "report", "diff", "doctor", "top", "replay", "bench"):
        check("usage: hypool " + command in hypool(command, "--help").stdout, command)
    check(call(COMMAND, "--version").stdout.startswith("hypool "))


def documented():
    """Each option that --help names stands in the manual page and in every completion."""
    docs = os.path.join(os.environ["DOCS_FOLDER"])
    pages_of = {name: open(os.path.join(docs, name), encoding="utf-8").read()
                for name in ("man/hypool.1", "completions/hypool.bash", "completions/_hypool", "completions/hypool.fish")}
    options = set()
    for command in ("run", "report", "diff"):
        options |= set(re.findall(r"--([a-z-]+)", hypool(command, "--help").stdout)) - {"help"}
    check(len(options) > 12)
    for option in options:
        for name, text in pages_of.items():
            wanted = "-" + option if name.startswith("man") else option
            check(wanted in text, f"{name} has no --{option}")


main([documented, statuses, signals, streams, formats, page, sampled_totals, forms, differ, doctor, top, replay, refusals, by_options, bench, pages])
