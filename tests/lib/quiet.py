#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A quiet VM, for those who attack others: touches a slot of its boot memory for the first time, rests,
and touches the next. It says when it is ready, and begins at a line on its standard input.
Prints how long each took, in microseconds; after LIMIT-S it leaves it at those it has.

quiet.py VHOST-SOCKET BOOT-PATH WINDOW-PATH TOUCHES REST-US LIMIT-S"""

import gc
import sys
import time

from peer import Peer

WARM = 10	# touches that do not count


def main():
    vhost, boot, window, touches, rest_us, limit_s = *sys.argv[1:4], *map(int, sys.argv[4:])
    peer = Peer({"vhost-socket": vhost, "boot-path": boot, "window-path": window}).start()
    gc.disable()
    took = []
    for slot in range(3, 3 + WARM + touches):	# those before hold the rings
        if slot == 3 + WARM:
            print("ready", flush=True)
            sys.stdin.readline()
            start = time.monotonic()
        elif slot > 3 + WARM and time.monotonic() - start > limit_s:
            break
        began = time.perf_counter_ns()
        peer.boot.touch(slot)
        took.append((time.perf_counter_ns() - began) / 1e3)
        time.sleep(rest_us / 1e6)
    print(*(f"{us:.1f}" for us in took[WARM:]))


main()
