"""Where a CSV of perf/results comes from, written by the program that writes the CSV."""
import datetime
import os
import platform
import subprocess

OWN = ["include", "lib", "perf/tensor", "perf/tensor_ops", "tests/kernels"]  # what a figure here depends on


def commit():
    here = os.path.dirname(os.path.abspath(__file__))
    top = os.path.dirname(os.path.dirname(here))
    try:
        name = subprocess.run(["git", "-C", top, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True,
                              check=True).stdout.strip()
        changed = subprocess.run(["git", "-C", top, "status", "--porcelain", "--", *OWN], capture_output=True, text=True,
                                 check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + (", changed" if changed else "")


def machine():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            info = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].splitlines() if ":" in line)
        info = {key.strip(): value.strip() for key, value in info.items()}
        return f"{info.get('model name')} family {info.get('cpu family')} model {info.get('model')}, {os.cpu_count()} CPUs"
    except OSError:
        return platform.processor()


def header(command):
    """The lines before a CSV's own, each with its newline."""
    return "".join(f"# {line}\n" for line in (
        f"machine: {machine()}", f"kernel: {platform.system()} {platform.release().split('-')[0]}", f"commit: {commit()}",
        f"command: {command}", f"date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "load average before: " + " ".join(f"{x:.2f}" for x in os.getloadavg())))
