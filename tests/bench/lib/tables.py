# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of what benchmarks left in build/bench: of one on the terminal, when it is
done; of all as Markdown, for docs/benchmarks.md (scripts/bench --table); of several runs of
one, with the range of each figure (scripts/bench --ranges). Knows no benchmark: a field's
name tells its unit, and whether more is better."""

import glob
import json
import os

UNITS = [("_gib_s", "GiB/s"), ("_ms_s", "ms/s"), ("_us", "µs"), ("_ms", "ms"), ("_s", "s"), ("gib_min", "GiB·min"), ("_mib", "MiB"),
         ("_ns", "ns"), ("_percent", "%"), ("_pages", "pages"), ("_blocks", "blocks")]
MORE_IS_BETTER = ("_gib_s", "allocated", "before_failure")
OURS = "memlease"
RUNS_LEAST = 3		# of which a range is worth its name


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


class Range:
    """The figures of one field in several runs."""

    def __init__(self, values):
        self.values = [value for value in values if value is not None]

    def __str__(self):
        low, high = number(min(self.values)), number(max(self.values))
        return low if low == high else f"{low} to {high}"


def over_runs(values):
    """A range, if they are numbers; None if no run has any."""
    values = list(values)
    if all(value is None for value in values):
        return None
    return str(Range(values)) if all(value is None or isinstance(value, (int, float)) for value in values) else "–"


def ranges(runs):
    """Of several runs [{system: {field: value}}]: each figure, and how many times better memlease
    is. A ratio is of one run, in which both systems took turns; the range is over the runs."""
    systems = list(dict.fromkeys(system for run in runs for system in run))
    fields = list(dict.fromkeys(field for run in runs for field in fields_of(run)))
    figures = {system: {field: over_runs(run.get(system, {}).get(field) for run in runs) for field in fields}
               for system in systems}
    yield list(rows(figures))
    if OURS in systems and len(systems) > 1:
        yield [["times better than", *(title(f).split(",")[0] for f in fields)]] + [
            [system.replace("_", " "),
             *(number(over_runs(ratio(f, run.get(OURS, {}).get(f), run.get(system, {}).get(f)) for run in runs))
               for f in fields)]
            for system in systems if system != OURS]


def ranges_markdown(directory, name):
    """All runs of a benchmark that a directory has. Raises ValueError if they give no range."""
    kept = [load(path) for path in sorted(glob.glob(os.path.join(glob.escape(directory), "runs", f"{name}-*.json")))]
    if len(kept) < RUNS_LEAST:
        raise ValueError(f"{directory}/runs has {len(kept)} runs of bench-{name}: a range takes {RUNS_LEAST} at least, apart "
                         f"from each other; run `make bench-{name}` again")
    told = {}
    for key in kept[0]["about"]:
        values = [run["about"].get(key) for run in kept]
        if not any(isinstance(value, (dict, list)) for value in values):
            told[key] = " and ".join(dict.fromkeys(map(str, values)))
    parts = [f"### bench-{name}\n", f"{len(kept)} runs; " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in told.items()) + "\n"]
    parts += [markdown(table) + "\n" for table in ranges([by_system(run["result"]) for run in kept])]
    return "\n".join(parts)


def all_markdown(directory):
    """Every benchmark that was run, the newest figures of each."""
    parts = []
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.json"))):
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
