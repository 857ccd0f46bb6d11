# SPDX-License-Identifier: GPL-2.0-or-later
"""Curves of memory over time: as an SVG file, and as a bar in a terminal line.

For scripts/demo. Knows nothing of VMs: it gets points (seconds, MiB) and marks.
"""

WIDTH, HEIGHT = 960, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 88, 50
MARK_ROW, MARK_CHAR = 13, 6	# pixels: a row of the marks' texts, a letter at most


def nice_step(span, most):
    """A round step so that span has at most `most` of them."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if span / (step * factor) <= most:
                return step * factor
        step *= 10


def mark_lines(marks, x):
    """Vertical lines with their texts, each in the lowest row where it has room."""
    out, ends = [], []
    for t, text in marks:
        width = MARK_CHAR * len(text) + 6
        left = min(x(t) + 3, WIDTH - width)
        row = next((i for i, end in enumerate(ends) if end <= left), len(ends))
        ends[row:row + 1] = [left + width]
        base = TOP - 6 - MARK_ROW * row
        out.append(f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{base - 8}" '
                   f'y2="{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="3 3"/>'
                   f'<text x="{left:.1f}" y="{base}" font-size="11" fill="#444">'
                   f'{escape(text)}</text>')
    return out


def svg(title, series, marks, legend=280):
    """An SVG document.

    series: list of (name, what it means, colour, filled, [(seconds, MiB)]); marks:
    list of (seconds, text) in the order of time, drawn as vertical lines; legend: pixels for
    an entry of it.
    """
    t_max = max((p[0] for s in series for p in s[4]), default=1) or 1
    y_max = max((p[1] for s in series for p in s[4]), default=1) * 1.05 or 1
    plot_w, plot_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(t):
        return LEFT + plot_w * t / t_max

    def y(v):
        return TOP + plot_h * (1 - v / y_max)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>']
    step = nice_step(y_max, 6)
    for value in range(0, int(y_max) + 1, step):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" '
                   f'y2="{y(value):.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    step = nice_step(t_max, 12)
    for value in range(0, int(t_max) + 1, step):
        out.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{value}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">seconds</text>')
    out.append(f'<text x="16" y="{TOP + plot_h / 2}" text-anchor="middle" '
               f'transform="rotate(-90 16 {TOP + plot_h / 2})">MiB</text>')
    for _, _, colour, filled, points in series:
        if not points:
            continue
        path = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in thin(points))
        if filled:
            path = f"{x(points[0][0]):.1f},{y(0):.1f} {path} {x(points[-1][0]):.1f},{y(0):.1f}"
            out.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="0.35" '
                       f'stroke="{colour}"/>')
        else:
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                       'stroke-width="2"/>')
    out += mark_lines(marks, x)
    for i, (name, meaning, colour, _, _) in enumerate(series):
        left = LEFT + legend * i
        out.append(f'<rect x="{left}" y="32" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{left + 18}" y="42"><tspan font-weight="bold">{escape(name)}</tspan>'
                   f': {escape(meaning)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def thin(points, most=2000):
    """At most about `most` points, first and last kept."""
    stride = max(1, len(points) // most)
    kept = points[::stride]
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bar(resident, committed, limit, width=40):
    """A line of `width` characters: resident full, committed half, the rest empty."""
    full = round(width * min(resident, limit) / limit)
    half = round(width * min(committed, limit) / limit)
    return "█" * full + "▒" * max(0, half - full) + "·" * (width - max(full, half))
