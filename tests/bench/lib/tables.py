# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of what benchmarks left in build/bench: of one on the terminal, when it is
done; of all as Markdown, for docs/benchmarks.md (scripts/bench --table). Knows no
benchmark: a field's name tells its unit, and whether more is better."""

import glob
import json
import os

UNITS = [("_gib_s", "GiB/s"), ("_us", "µs"), ("_ms", "ms"), ("_s", "s"), ("gib_min", "GiB·min"), ("_mib", "MiB"),
         ("_ns", "ns"), ("_percent", "%"), ("_pages", "pages"), ("_blocks", "blocks")]
MORE_IS_BETTER = ("_gib_s", "allocated")
OURS = "memlease"


def title(field):
    for suffix, unit in UNITS:
        if field.endswith(suffix):
            name = field[:-len(suffix)].replace("_", " ").strip()
            return f"{name}, {unit}" if name else unit
    return field.replace("_", " ")


def number(value):
    """Three digits that count; integers as they are."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(map(number, value))
    if isinstance(value, int) or value == 0:
        return str(value)
    digits = max(0, 2 - len(str(int(abs(value)))) + (1 if abs(value) >= 1 else 0))
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def fields_of(result):
    fields = []
    for figures in result.values():
        fields += [f for f in figures if f not in fields]
    return fields


def rows(result):
    fields = fields_of(result)
    yield ["", *map(title, fields)]
    for system, figures in result.items():
        yield [system.replace("_", " "), *(number(figures.get(f)) for f in fields)]


def ratios(result):
    """How many times better memlease is than each other system; under 1 it is worse."""
    ours = result.get(OURS)
    if not ours or len(result) < 2:
        return
    fields = fields_of(result)
    yield ["times better than", *(title(f).split(",")[0] for f in fields)]
    for system, figures in result.items():
        if system != OURS:
            yield [system.replace("_", " "), *(number(ratio(f, ours.get(f), figures.get(f))) for f in fields)]


def ratio(field, ours, other):
    if isinstance(ours, list) and isinstance(other, list) and len(ours) == len(other):
        return [ratio(field, a, b) for a, b in zip(ours, other)]
    if not isinstance(ours, (int, float)) or not isinstance(other, (int, float)) or not ours or not other:
        return None
    return ours / other if field.endswith(MORE_IS_BETTER) else other / ours


def markdown(lines):
    lines = list(lines)
    if not lines:
        return ""
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text.insert(1, "|" + " --- |" * len(lines[0]))
    return "\n".join(text)


def plain(lines):
    lines = list(lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))] if lines else []
    return "\n".join("  ".join(f"{word:<{w}}" if not i else f"{word:>{w}}"
                               for i, (word, w) in enumerate(zip(line, widths))) for line in lines)


def wrapped(lines, columns=6):
    """A table in several, so that none is too wide for a terminal."""
    lines = list(lines)
    for at in range(1, len(lines[0]) if lines else 0, columns):
        yield [[line[0], *line[at:at + columns]] for line in lines]


def load(path):
    with open(path) as file:
        return json.load(file)


def by_system(result):
    """A benchmark that compares no systems has its fields at the top; those beside systems are ours."""
    systems = {key: dict(value) for key, value in result.items() if isinstance(value, dict)}
    beside = {key: value for key, value in result.items() if key not in systems}
    if beside:
        systems.setdefault(OURS, {}).update(beside)
    return systems


def show(result):
    """On the terminal."""
    for lines in (rows(result), ratios(result)):
        for part in wrapped(lines):
            print("\n" + plain(part))
    print(flush=True)


def all_markdown(directory):
    """Every benchmark that was run, the newest figures of each."""
    parts = []
    for path in sorted(glob.glob(os.path.join(directory, "*.json"))):
        name = os.path.basename(path)[:-len(".json")]
        if name.endswith(".raw"):
            continue
        result = by_system(load(path))
        parts.append(f"### bench-{name}\n")
        raw = os.path.join(directory, f"{name}.raw.json")
        if os.path.exists(raw):
            about = load(raw).get("about", {})
            parts.append(", ".join(f"{k.replace('_', ' ')} {v}" for k, v in about.items()
                                   if not isinstance(v, (dict, list))) + "\n")
        parts += [table + "\n" for table in (markdown(rows(result)), markdown(ratios(result))) if table]
    return "\n".join(parts)
