# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of a guest's physical memory: how many pages of each 2 MiB are in use,
one panel a stage, as SVG. Gets what the guest program `regions` prints."""

WIDTH, PANEL, GAP = 960, 150, 44
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 70, 46
PAGES = 512
PER_GIB = 512		# regions of 2 MiB
GAP_MIN, GAP_SHOWN = 256, 32	# regions: an empty stretch that is cut out, and what is left of it
STEPS_GIB = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 1 << 20)
COLOURS = {"used": "#2060c0", "huge": "#d08020", "there": "#f0f0f0"}
LEGEND = (("used", "pages in use"), ("huge", "pages of an allocation of 2 MiB"), ("there", "free"))


def parse(text):
    """[(region, pages there, used, of these in an allocation of 2 MiB)]"""
    return [tuple(map(int, line.split())) for line in text.splitlines() if line]


class Scale:
    """Regions to pixels. Where no stage has memory for long, the axis is cut."""

    def __init__(self, regions):
        self.spans, at = [], 0	# first region, last, and where they are on the cut axis
        for region in sorted(regions):
            if self.spans and region - self.spans[-1][1] <= GAP_MIN:
                self.spans[-1][1] = region
            else:
                at = self.end() + GAP_SHOWN if self.spans else 0
                self.spans.append([region, region, at])
        self.unit = (WIDTH - LEFT - RIGHT) / self.end()

    def end(self):
        first, last, at = self.spans[-1]
        return at + last - first + 1

    def x(self, region):
        first, _, at = next((s for s in self.spans if s[0] <= region <= s[1] + 1), self.spans[-1])
        return LEFT + self.unit * (at + region - first)

    def holds(self, region):
        return any(first <= region <= last + 1 for first, last, _ in self.spans)

    def cuts(self):
        return [LEFT + self.unit * (at - GAP_SHOWN / 2) for _, _, at in self.spans[1:]]


def svg(title, stages):
    """stages: [(name, what parse() gave)], drawn from top to bottom on one scale."""
    scale = Scale({region for _, rows in stages for region, *_ in rows})
    height = TOP + len(stages) * (PANEL + GAP) + BOTTOM - GAP
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for i, (name, meaning) in enumerate(LEGEND):
        left = LEFT + 230 * i
        out.append(f'<rect x="{left}" y="32" width="12" height="12" fill="{COLOURS[name]}" stroke="#bbb" '
                   f'stroke-width="0.5"/><text x="{left + 18}" y="42">{meaning}</text>')
    for i, (name, rows) in enumerate(stages):
        out += panel(name, rows, TOP + i * (PANEL + GAP), scale, i == len(stages) - 1)
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 8}" text-anchor="middle">'
               'guest physical address, GiB</text>')
    return "\n".join(out) + "\n</svg>\n"


def panel(name, rows, top, scale, lowest):
    bottom, x = top + PANEL, scale.x

    def y(pages):
        return bottom - (PANEL - 18) * pages / PAGES

    total = sum(used for _, _, used, _ in rows)
    out = [f'<text x="{LEFT}" y="{top + 8}">{name}: {total * 4 // 1024} MiB in use in {len(rows)} regions</text>']
    out += [f'<path d="{path}" fill="{COLOURS[kind]}"/>' for kind, path in paths(rows, x, y)]
    for pages in (0, 128, 256, 384, 512):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(pages):.1f}" y2="{y(pages):.1f}" stroke="#888" '
                   f'stroke-opacity="0.35" stroke-width="0.6"/><text x="{LEFT - 8}" y="{y(pages) + 4:.1f}" '
                   f'text-anchor="end">{pages}</text>')
    for cut in scale.cuts():
        out.append(f'<rect x="{cut - 3:.1f}" y="{y(PAGES) - 4:.1f}" width="6" height="{bottom - y(PAGES) + 8:.1f}" '
                   f'fill="white"/><text x="{cut:.1f}" y="{bottom + 4}" text-anchor="middle">//</text>')
    step = next(s for s in STEPS_GIB if scale.end() / PER_GIB / s <= 12)
    last = scale.spans[-1][1]
    for i in range(int(last / PER_GIB / step) + 1):
        if not scale.holds(i * step * PER_GIB):
            continue
        at = x(i * step * PER_GIB)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#888"/>')
        if lowest:
            out.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{i * step:g}</text>')
    out.append(f'<text x="16" y="{(top + 18 + bottom) / 2}" text-anchor="middle" font-size="11" '
               f'transform="rotate(-90 16 {(top + 18 + bottom) / 2})">pages per 2 MiB</text>')
    return out


def paths(rows, x, y):
    """One path a colour: neighbours of the same height are one rectangle."""
    for kind, column in (("there", lambda r: r[1]), ("used", lambda r: r[2]), ("huge", lambda r: r[3])):
        parts, run = [], None	# run: first region, end, height
        for row in rows:
            value = column(row)
            if run and run[1] == row[0] and run[2] == value:
                run[1] += 1
                continue
            parts.append(run)
            run = [row[0], row[0] + 1, value]
        parts.append(run)
        yield kind, "".join(f"M{x(a):.1f} {y(0):.1f}V{y(v):.1f}H{x(b):.1f}V{y(0):.1f}Z" for a, b, v in filter(None, parts) if v)
