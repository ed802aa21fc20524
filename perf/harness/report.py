"""CSV, Markdown and JSON of one comparison. The CSV is the record and alone has the info_ figures, which nobody judges;
the other two are made from the same lines."""

import csv
import json

METRIC_TITLES = {"time": "Time", "memory": "Peak resident memory", "other": "Other figures (lower is better)"}


def _number(value):
    if abs(value) >= 10000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def write_csv(path, head, lines, allocators):
    with open(path, "w", encoding="utf-8", newline="") as file:
        for key, value in head.items():
            file.write(f"# {key}: {value}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["group", "row", "metric", "unit", "allocator", "rounds", "median", "min", "max", "mad",
                      "row_noise", "best_peer", "hypool_over_best", "verdict", "samples"])
        for line in lines:
            for allocator in allocators:
                summary = line.by.get(allocator.name)
                base = [line.group, line.row, line.metric, line.unit, allocator.name]
                tail = [f"{line.noise:.4f}", line.best, f"{line.ratio:.4f}" if line.ratio else "", line.verdict]
                if summary is None:
                    reason = line.failures.get(allocator.name, "not run")
                    out.writerow(base + [0, "", "", "", ""] + tail + [f"failed: {reason}"])
                    continue
                out.writerow(base + [summary.count] + [f"{v:.6g}" for v in (
                    summary.median, summary.low, summary.high, summary.mad)] + tail + [
                        " ".join(f"{v:.6g}" for v in line.samples[allocator.name])])


def _cell(line, name, twin):
    summary = line.by.get(name)
    if summary is None:
        return "**failed**" if name in line.failures else "-"
    text = _number(summary.median)
    contenders = [s.median for n, s in line.by.items() if n not in twin]
    return f"**{text}**" if contenders and summary.median == min(contenders) else text


def _verdict(line):
    if line.verdict in ("-", ""):
        return ""
    if line.verdict == "failed":
        return "FAILED"
    mark = {"first": "first", "tie": "tie", "behind": "**BEHIND**"}[line.verdict]
    return f"{mark} {line.ratio:.2f}"


def _table(lines, allocators):
    """One Markdown table; the twin has no column, it is in the noise."""
    names = [a.name for a in allocators if not a.twin_of]
    twins = [a.name for a in allocators if a.twin_of]
    out = ["| row | unit | " + " | ".join(names) + " | hypool / best peer | noise | widest spread |",
           "|---|---|" + "---|" * (len(names) + 3)]
    for line in lines:
        row = line.row if line.metric in ("time", "memory") else f"{line.row} {line.metric}"
        spread = max((s.spread() for n, s in line.by.items()), default=0)
        cells = [_cell(line, name, twins) for name in names]
        out.append(f"| {row} | {line.unit} | " + " | ".join(cells)
                   + f" | {_verdict(line)} | {100 * line.noise:.1f} % | {100 * spread:.0f} % |")
    return out


def _means(lines, allocators, means):
    names = [a.name for a in allocators if not a.twin_of]
    out = ["| geometric mean, ratio to the first column | " + " | ".join(names) + " | rows |",
           "|---|" + "---|" * (len(names) + 1)]
    for title, metric, kind in (("time, loads", "time", "load"), ("peak memory, loads", "memory", "load"),
                                ("cpu time, real programs", "time", "program"),
                                ("peak memory, real programs", "memory", "program")):
        values, count = means(lines, metric, kind, names[0])
        if count:
            out.append(f"| {title} | " + " | ".join(f"{values[n]:.3f}" if n in values else "-" for n in names)
                       + f" | {count} |")
    return out


def markdown(head, lines, allocators, means, skipped):
    """The whole report as text."""
    lines = [line for line in lines if not line.metric.startswith("info_")]
    out = ["# Comparison of allocators", ""]
    out += [f"- {key}: {value}" for key, value in head.items()] + [""]
    out += ["Median of the rounds; bold is the lowest of the row. Noise is the larger of the A/A difference (the same library",
            "run twice) and twice the standard error of the compared medians. first: at or below every peer; tie: above the best",
            "peer by less than the noise; BEHIND: above it by more. Spread is (max - min) / median of the widest allocator.", ""]
    judged = [line for line in lines if line.verdict not in ("-", "")]
    if judged:
        count = {v: sum(line.verdict == v for line in judged) for v in ("first", "tie", "behind", "failed")}
        out += [f"hypool is first in {count['first']}, ties in {count['tie']}, is behind in {count['behind']} and failed in "
                f"{count['failed']} of {len(judged)} figures.", ""]
    out += _means(lines, allocators, means) + [""]
    losses = sorted((line for line in lines if line.verdict in ("behind", "failed")),
                    key=lambda line: (line.verdict != "failed", -line.ratio))
    if losses:
        out += ["## Where hypool is not first", "", "| row | metric | hypool / best peer | best peer | noise |",
                "|---|---|---|---|---|"]
        out += [f"| {x.row} | {x.metric} | " + (f"{x.ratio:.2f}" if x.verdict == "behind" else
                                                f"FAILED: {x.failures.get('hypool', '')}")
                + f" | {x.best} | {100 * x.noise:.1f} % |" for x in losses] + [""]
    for metric, title in METRIC_TITLES.items():
        chosen = [x for x in lines if x.metric == metric or (metric == "other" and x.metric not in METRIC_TITLES)]
        if chosen:
            out += [f"## {title}", ""] + _table(chosen, allocators) + [""]
    if skipped:
        out += ["## Not run", ""] + [f"- {text}" for text in skipped] + [""]
    return "\n".join(out)


def as_json(head, lines, skipped):
    return json.dumps({"head": head, "skipped": skipped, "rows": [
        {"group": x.group, "row": x.row, "metric": x.metric, "unit": x.unit, "noise": x.noise, "best_peer": x.best,
         "ratio": x.ratio, "verdict": x.verdict, "failures": x.failures,
         "allocators": {n: {"median": s.median, "min": s.low, "max": s.high, "samples": x.samples[n]}
                        for n, s in x.by.items()}} for x in lines]}, indent=1)
