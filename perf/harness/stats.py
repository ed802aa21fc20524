"""From samples to a verdict: median, spread, the row's noise, and who is first.

Noise of a row and metric, as a part of the value: the larger of
  - the A/A difference: the same library run as if it were two, and
  - twice the standard error of the two medians that are compared (1.2533 sigma / sqrt n, sigma = 1.4826 MAD).
A ratio that is inside the noise is called a tie, not a win; one outside it is called behind.
"""

import math
from dataclasses import dataclass, field


@dataclass
class Summary:
    median: float
    low: float
    high: float
    mad: float
    count: int

    def error(self):
        """Twice the standard error of the median, as a part of it."""
        if not self.median or self.count < 2:
            return 0.0
        return 2 * 1.2533 * 1.4826 * self.mad / math.sqrt(self.count) / abs(self.median)

    def spread(self):
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


@dataclass
class Line:
    """One row and metric: what the reports print. ratio: subject over the best peer; verdict: see judge()."""
    row: str
    group: str
    kind: str
    metric: str
    unit: str
    by: dict
    samples: dict
    noise: float = 0.0
    best: str = ""
    ratio: float = 0.0
    verdict: str = ""
    failures: dict = field(default_factory=dict)


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summarize(values):
    centre = median(values)
    return Summary(centre, min(values), max(values), median([abs(v - centre) for v in values]), len(values))


def unit_of(kind, metric):
    if metric == "time":
        return "ms cpu" if kind == "program" else "ns"
    if metric.endswith("_kib") or metric == "memory" or metric.startswith("info_rss"):
        return "KiB"
    if metric.endswith("_ms"):
        return "ms"
    return "%" if metric.endswith("_pct") else "ns"


def _ratio(value, base):
    """value / base. Percentages near or below nothing have no ratio: they are compared with 1 % added to both."""
    return value / base if base > 0 and value > 0 else math.inf if value > base else 1.0


def judge(line, subject, twin, peers):
    """Fills noise, best peer, ratio and verdict: first, tie, behind, failed, or - where the subject was not run."""
    measured = {name: s for name, s in line.by.items() if name in peers}
    if measured:
        line.best = min(measured, key=lambda name: measured[name].median)
    of_twin = line.by.get(twin[0]), line.by.get(twin[1])
    difference = 0.0
    if all(of_twin) and of_twin[0].median:
        difference = abs(of_twin[1].median / of_twin[0].median - 1)
    mine, best = line.by.get(subject), measured.get(line.best)
    errors = math.hypot(mine.error() if mine else 0.0, best.error() if best else 0.0)
    line.noise = max(difference, errors)
    if subject in line.failures:
        line.verdict = "failed"
    elif mine is None or best is None:
        line.verdict = "-"
    else:
        offset = 1.0 if line.unit == "%" else 0.0
        line.ratio = _ratio(mine.median + offset, best.median + offset)
        line.verdict = "first" if line.ratio <= 1 else "tie" if line.ratio <= 1 + line.noise else "behind"
    return line


def make_lines(row, samples, failures, subject, twin, peers):
    """A Line for each metric of each result of the row; info_ metrics are not judged."""
    lines = []
    names = list(samples) or [row.name]
    for name in names:
        for metric in list(samples.get(name, {})) or ["time"]:
            values = samples.get(name, {}).get(metric, {})
            by = {allocator: summarize(v) for allocator, v in values.items() if allocator not in failures}
            line = Line(name, row.group, row.kind, metric, unit_of(row.kind, metric), by, values,
                        failures=dict(failures))
            lines.append(line if metric.startswith("info_") else judge(line, subject, twin, peers))
    return lines


def geometric_means(lines, metric, kind, base):
    """Each allocator's mean ratio to base over the rows where all allocators have a figure; and how many rows."""
    usable = [line for line in lines if line.metric == metric and line.kind == kind and base in line.by
              and not line.failures]
    if not usable:
        return {}, 0
    names = set.intersection(*(set(line.by) for line in usable))
    return {name: math.exp(sum(math.log(line.by[name].median / line.by[base].median) for line in usable) / len(usable))
            for name in names}, len(usable)
