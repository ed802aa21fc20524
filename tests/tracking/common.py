"""What the tests of the `hypool` command share. argv of each: COMMAND LIBRARY PROGRAM..., as the meson file says."""
import json
import os
import subprocess
import sys
import tempfile

COMMAND, LIBRARY = (os.path.abspath(p) for p in sys.argv[1:3])
PROGRAMS = {os.path.basename(p).removeprefix("tracking_"): os.path.abspath(p) for p in sys.argv[3:]}
SCRATCH = tempfile.TemporaryDirectory()
os.environ["HYPOOL_PRELOAD"] = LIBRARY
for key in list(os.environ):
    if key.startswith("HYPOOL_") and key != "HYPOOL_PRELOAD":
        del os.environ[key]


def scratch(name):
    return os.path.join(SCRATCH.name, name)


def call(*args, status=0, env=None, **more):
    done = subprocess.run(args, capture_output=True, text=True, errors="replace", timeout=120, env=dict(os.environ, **(env or {})), **more)
    if status is not None and done.returncode != status:
        sys.exit(f"{args}: ended {done.returncode}, wanted {status}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def hypool(*args, **more):
    return call(COMMAND, *args, **more)


def preloaded(program, options, *args, **more):
    env = {"LD_PRELOAD": LIBRARY} | {f"HYPOOL_{k.upper()}": str(v) for k, v in options.items()}
    return call(program, *args, env=env, **more)


def check(claim, text=""):
    if not claim:
        frame = sys._getframe(1)
        sys.exit(f"line {frame.f_lineno}: the claim does not hold: {text}")


def report(file):
    return json.loads(hypool("report", "--json", file).stdout)


def main(tests):
    for test in tests:
        test()
        print("ok", test.__name__)
