#!/usr/bin/env python3
"""What a person sees: the page in headless Chromium, light and dark, wide and narrow; `hypool top` in tmux.

A screenshot must not be blank (its colours differ) and the browser must report no error. Skips (77) what it lacks.
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib

from common import COMMAND, PROGRAMS, call, check, hypool, scratch


def pixels(path):
    """The colours of a PNG, a set of byte triples of every 7th pixel of every 7th row."""
    data = open(path, "rb").read()
    at, parts, head = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", data[at + 8:at + 21])
        elif kind == b"IDAT":
            parts += data[at + 8:at + 8 + size]
        at += size + 12
    width, height, step = head[0], head[1], {2: 3, 6: 4}[head[3]]
    raw, before, seen = zlib.decompress(parts), bytearray(width * step), {}
    for y in range(height):
        kind, row = raw[y * (width * step + 1)], bytearray(raw[y * (width * step + 1) + 1:(y + 1) * (width * step + 1)])
        for i in range(len(row)):
            left = row[i - step] if i >= step else 0
            above, corner = before[i], before[i - step] if i >= step else 0
            if kind == 1:
                row[i] = row[i] + left & 255
            elif kind == 2:
                row[i] = row[i] + above & 255
            elif kind == 3:
                row[i] = row[i] + (left + above) // 2 & 255
            elif kind == 4:
                guess = left + above - corner
                best = min((left, above, corner), key=lambda v: abs(guess - v))
                row[i] = row[i] + best & 255
        if y % 7 == 0:
            for x in range(0, width, 7):
                colour = bytes(row[x * step:x * step + 3])
                seen[colour] = seen.get(colour, 0) + 1
        before = row
    return seen


def page():
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return print("skipped: no chromium")
    hypool("run", "--quiet", "--leaks", "--report", scratch("page.html"), "--", PROGRAMS["planted"], status=3)
    shades = {}
    for name, width, dark in (("wide", 1100, False), ("phone", 420, False), ("dark", 420, True)):
        args = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900",
                f"--user-data-dir={scratch('profile')}", f"--screenshot={scratch(name + '.png')}"]
        if dark:
            args.append("--blink-settings=preferredColorScheme=0")
        env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        subprocess.run(args + ["file://" + scratch("page.html")], capture_output=True, timeout=100, env=env)
        seen = pixels(scratch(name + ".png"))
        check(len(seen) > 20, f"{name} is blank")
        common = max(seen, key=seen.get)
        shades[name] = sum(common)
    check(shades["wide"] > 700 and shades["phone"] > 700, shades)
    check(shades["dark"] < 120, f"the dark page is not dark: {shades}")
    fits(browser)
    print("ok page")
    return True


def fits(browser):
    """On a narrow screen nothing but tables that scroll by themselves is wider than it; a click on the flame graph zooms."""
    text = open(scratch("page.html"), encoding="utf-8").read()
    probe = ("<script>const f=[...document.querySelectorAll('.flame .f')].at(-1),w=f.offsetWidth;f.firstChild.click();"
             "document.title=`wide ${document.documentElement.scrollWidth} of ${innerWidth}, zoom ${w} to ${f.offsetWidth}`</script>")
    with open(scratch("narrow.html"), "w", encoding="utf-8") as file:
        file.write(text.replace("</html>", probe + "</html>"))
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    page = call(browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=420,900", f"--user-data-dir={scratch('profile')}",
                "--dump-dom", "file://" + scratch("narrow.html"), status=None, env=env).stdout
    found = re.search(r"<title>wide (\d+) of (\d+), zoom (\d+) to (\d+)</title>", page)
    check(found, page[:500])
    wide, screen, before, after = map(int, found.groups())
    check(wide <= screen, f"the page is {wide} wide on a screen of {screen}")
    check(after >= before and after > screen * 0.8, f"a frame of {before} became {after}")


def top():
    if shutil.which("tmux") is None:
        return print("skipped: no tmux")
    child = subprocess.Popen([COMMAND, "run", "--quiet", "--live", "--", PROGRAMS["patterns"], "growth"], stdout=subprocess.PIPE)
    pid = int(child.stdout.readline().split()[1])
    time.sleep(0.3)
    socket = scratch("tmux")
    call("tmux", "-S", socket, "new-session", "-d", "-x", "100", "-y", "30", f"{COMMAND} top -d 0.2 {pid}")
    screens = []
    for _ in range(3):
        time.sleep(0.4)
        screens.append(call("tmux", "-S", socket, "capture-pane", "-p", status=None).stdout)
    call("tmux", "-S", socket, "kill-server", status=None)
    child.kill()
    child.wait()
    if os.path.exists(f"/dev/shm/hypool.{pid}"):
        os.kill(pid, 9)
        os.unlink(f"/dev/shm/hypool.{pid}")
    check(f"pid {pid}" in screens[0] and "resident" in screens[0] and "spans" in screens[0], screens[0])
    check(len({re.sub(r"written .*", "", s) for s in screens}) > 1, "the screen does not change")
    print("ok top")
    return True


did = [page(), top()]
sys.exit(0 if any(did) else 77)
