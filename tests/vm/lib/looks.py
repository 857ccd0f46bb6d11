# SPDX-License-Identifier: GPL-2.0-or-later
"""What was seen of the files of a pool, look by look, and what a bill may say after it.
Pure: sampler.py adds looks, tests ask. What is asked is asked for some files, or for all.

Between two looks that follow each other closely the count of blocks is taken for the mean
of both. Where they were far apart, because the machine had other work, nobody knows what
was there in between: then it is taken for anything from the least to the most that the
file had shortly before, then, or shortly after. So the integral is known exactly where
the looks were on time, and within bounds where they were not."""

LATE_NS = 30_000_000	# from the begin of a look to the end of the next, if none is late
NEAR_NS = 2_000_000_000	# shortly before, and after
NOISE_BLOCK_S = 3	# what 100 looks a second cannot tell while a few hundred blocks come at once


class Looks:
    def __init__(self):
        self.samples = {}	# path: [(monotonic ns, blocks)], changes and the last
        self.gaps = []		# [(from ns, to ns)] in which nobody looked, in order
        self.last = None	# (begin, end) of the last look, ns

    def add(self, began_ns, ended_ns, seen):
        """A look that lasted so long, and what it saw: {path: blocks}."""
        for path in self.samples:
            seen.setdefault(path, 0.0)
        for path, blocks in seen.items():
            points = self.samples.get(path)
            if points is None:	# it was not there the last time
                points = self.samples[path] = [(self.last[1], 0.0)] if self.last else []
            if len(points) > 1 and points[-1][1] == points[-2][1] == blocks:
                points[-1] = (ended_ns, blocks)
            else:
                points.append((ended_ns, blocks))
        since = self.last[0] if self.last else began_ns
        if ended_ns - since > LATE_NS:
            if self.gaps and self.gaps[-1][1] >= since:
                since = self.gaps.pop()[0]
            self.gaps.append((since, ended_ns))
        self.last = (began_ns, ended_ns)

    def held(self, began_ns, ended_ns):
        """Looks since the last, on time all of them, saw the same; the last of them lasted so long."""
        for points in self.samples.values():
            if len(points) > 1 and points[-1][1] == points[-2][1]:
                points[-1] = (ended_ns, points[-1][1])
            else:
                points.append((ended_ns, points[-1][1]))
        self.last = (began_ns, ended_ns)

    def files(self, only):
        return [path for path in list(self.samples) if only is None or path in only]

    def now(self, only=None):
        """Blocks behind the files, at the last look."""
        return sum(self.samples[path][-1][1] for path in self.files(only))

    def peak(self, only=None):
        return max((blocks for _, blocks in self.curve(only)), default=0)

    def block_seconds(self, only=None, since_ns=0, until_ns=None):
        """The integral; between two looks the mean of both."""
        return sum(_integral(self.samples[path], since_ns, until_ns) for path in self.files(only)) / 1e9

    def bounds(self, only=None):
        """The least and the most that the integral can be, block-seconds."""
        low = high = self.block_seconds(only) * 1e9
        for path in self.files(only):
            points = self.samples[path]
            for since, until in self.gaps:
                lasted = min(until, points[-1][0]) - max(since, points[0][0])
                if lasted > 0:
                    near = _values(points, since - NEAR_NS, until + NEAR_NS)
                    mean = _integral(points, since, until)
                    low += min(near) * lasted - mean
                    high += max(near) * lasted - mean
        return low / 1e9, high / 1e9

    def agrees(self, billed, only=None, bound_percent=0.2):
        """Whether so many block-seconds can be what there was; and a text that tells why."""
        low, high = self.bounds(only)
        noise = max(bound_percent / 100 * (low + high) / 2, NOISE_BLOCK_S)
        seen = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        late = max((until - since for since, until in self.gaps), default=0) / 1e6
        return low - noise <= billed <= high + noise, (
            f"billed {billed:.2f} block-seconds, observed {seen}, give or take {noise:.2f}; "
            f"{len(self.gaps)} times no look, {late:.0f} ms at most")

    def curve(self, only=None):
        """The sum over the files: [(monotonic ns, blocks)]."""
        changes = []
        for path in self.files(only):
            last = 0
            for at, blocks in list(self.samples[path]):
                changes.append((at, blocks - last))
                last = blocks
        total, curve = 0, []
        for at, change in sorted(changes):
            total += change
            if curve and curve[-1][0] == at:
                curve[-1] = (at, total)
            else:
                curve.append((at, total))
        return curve

    def since(self, at_ns, low, only=None):
        """Seconds from at_ns until the sum was first at or below low; None if never."""
        for at, blocks in self.curve(only):
            if at >= at_ns and blocks <= low:
                return (at - at_ns) / 1e9
        return None


def _integral(points, since_ns, until_ns):
    """Of the broken line through the points, within these times; block-nanoseconds."""
    total = 0.0
    for (t0, b0), (t1, b1) in zip(points, points[1:]):
        left, right = max(t0, since_ns), min(t1, t1 if until_ns is None else until_ns)
        if right > left:
            middle = (left + right) / 2
            total += (b0 + (b1 - b0) * (middle - t0) / (t1 - t0)) * (right - left)
    return total


def _values(points, since_ns, until_ns):
    """The counts within these times, those that held at their ends among them."""
    before = [blocks for at, blocks in points if at < since_ns][-1:]
    after = [blocks for at, blocks in points if at > until_ns][:1]
    return before + [blocks for at, blocks in points if since_ns <= at <= until_ns] + after
