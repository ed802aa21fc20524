#!/usr/bin/env python3
"""Adds up the runs of `./bootstrap test` and prints the one closing line.

Reads a table of tab-separated rows: `log NAME FOLDER` (a run, with its meson-logs folder), `skip NAME WHY` and
`fail NAME WHY` (a configuration that could not be built or run), `time NAME TEXT` (printed as it is). Exits non-zero
if anything failed or nothing passed.
"""
import glob
import json
import os
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}


def reason(test):
    """The last line a skipped test printed says why."""
    lines = (test.get("stdout") or "").strip().splitlines() + (test.get("stderr") or "").strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"


def main(table):
    passed, failed, skipped = 0, [], []
    with open(table, encoding="utf-8") as rows:
        for row in rows:
            kind, name, rest = row.rstrip("\n").split("\t", 2)
            if kind == "skip":
                skipped.append((name, rest))
            elif kind == "fail":
                failed.append((name, rest))
            elif kind == "time":
                print(f"{name}: {rest}")
            else:
                logs = glob.glob(os.path.join(rest, "bootstrap*.json"))
                count = 0
                for log in logs:
                    with open(log, encoding="utf-8") as lines:
                        for line in lines:
                            test = json.loads(line)
                            count += 1
                            label = f"{name}: {test['name'].split(':', 1)[-1]}"
                            if test["result"] in PASSED:
                                passed += 1
                            elif test["result"] in SKIPPED:
                                skipped.append((label, reason(test)))
                            else:
                                failed.append((label, test["result"]))
                if count == 0:
                    failed.append((name, "no test ran"))
    for label, why in skipped:
        print(f"could not run  {label} ({why})")
    for label, why in failed:
        print(f"failed  {label} ({why})")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 0 if passed > 0 and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
