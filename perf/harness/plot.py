"""An SVG of the comparison: each row's figures as dots on a log axis, relative to the best peer.

Two panels, time and peak memory. 1 is the best of the peers; a dot to the left of 1 is better than all of them. hypool's
dot is large, with a bar from its least to its greatest round; the grey band is the row's noise. Figures beyond the axis
are drawn at its edge, the greatest with its value.
"""

import math
from html import escape

COLOURS = {"glibc": "#7f7f7f", "jemalloc": "#1f77b4", "mimalloc": "#2ca02c", "tcmalloc": "#ff7f0e", "hypool": "#d62728"}
SPARE = ["#9467bd", "#8c564b", "#e377c2", "#17becf"]
ROW_HEIGHT, LABEL_WIDTH, PANEL_WIDTH, TOP, GAP = 15, 190, 430, 70, 40
LEAST, MOST = 0.25, 16.0


def _x(panel, ratio):
    part = (math.log(max(LEAST, min(MOST, ratio))) - math.log(LEAST)) / (math.log(MOST) - math.log(LEAST))
    return LABEL_WIDTH + panel * (PANEL_WIDTH + GAP) + part * PANEL_WIDTH


def _text(x, y, text, anchor="start", size=11, colour="#222"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _colour(name, names):
    extra = [n for n in names if n not in COLOURS]
    return COLOURS.get(name) or SPARE[extra.index(name) % len(SPARE)]


def _axis(panel, title, bottom):
    out = [_text(_x(panel, 1) , TOP - 32, title + ", relative to the best peer", "middle", 13)]
    for tick in (0.25, 0.5, 1, 2, 4, 8, 16):
        x = _x(panel, tick)
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{"#444" if tick == 1 else "#ddd"}"/>')
        out.append(_text(x, TOP - 12, f"{tick:g}", "middle", 10))
    return out


def _dots(panel, y, line, names, twins, subject):
    peers = [s.median for n, s in line.by.items() if n in names and n != subject and n not in twins]
    base = min(peers) if peers else 0
    if base <= 0:
        return []
    out = []
    left, right = _x(panel, 1 / (1 + line.noise)), _x(panel, 1 + line.noise)
    out.append(f'<rect x="{left:.1f}" y="{y - 6}" width="{right - left:.1f}" height="12" fill="#eee"/>')
    for name in sorted(names, key=lambda n: n == subject):
        summary = line.by.get(name)
        if summary is None or summary.median <= 0:
            continue
        ratio, colour = summary.median / base, _colour(name, names)
        if name == subject:
            out.append(f'<line x1="{_x(panel, summary.low / base):.1f}" y1="{y}" x2="{_x(panel, summary.high / base):.1f}" '
                       f'y2="{y}" stroke="{colour}" stroke-width="2"/>')
        size = 4.5 if name == subject else 3
        spread = f"{summary.low:.4g} to {summary.high:.4g}"
        out.append(f'<circle cx="{_x(panel, ratio):.1f}" cy="{y}" r="{size}" fill="{colour}">'
                   f"<title>{escape(name)}: {summary.median:.4g} {line.unit} ({spread})</title></circle>")
    worst = max((s.median / base, n) for n, s in line.by.items() if n in names)
    if worst[0] > MOST:
        out.append(_text(_x(panel, MOST) + 6, y + 4, f"{worst[0]:.0f}x", size=8, colour=_colour(worst[1], names)))
    return out


def svg(lines, allocators, title, subject):
    """The whole drawing as text."""
    names = [a.name for a in allocators if not a.twin_of]
    twins = [a.name for a in allocators if a.twin_of]
    rows = list(dict.fromkeys(line.row for line in lines if line.metric in ("time", "memory")))
    table = {(line.row, line.metric): line for line in lines}
    bottom = TOP + len(rows) * ROW_HEIGHT
    width = LABEL_WIDTH + 2 * PANEL_WIDTH + GAP + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + 20}" font-family="sans-serif">',
           f'<rect width="{width}" height="{bottom + 20}" fill="white"/>', _text(10, 18, title, size=13)]
    x = width - 90 * len(names)
    for name in names:
        out.append(f'<circle cx="{x}" cy="14" r="4" fill="{_colour(name, names)}"/>')
        out.append(_text(x + 8, 18, name))
        x += 88
    out += _axis(0, "time", bottom) + _axis(1, "peak memory", bottom)
    for index, row in enumerate(rows):
        y = TOP + index * ROW_HEIGHT + ROW_HEIGHT // 2
        out.append(_text(LABEL_WIDTH - 12, y + 4, row, "end"))
        for panel, metric in enumerate(("time", "memory")):
            if (row, metric) in table:
                out += _dots(panel, y, table[(row, metric)], names, twins, subject)
    return "\n".join(out + ["</svg>"]) + "\n"
