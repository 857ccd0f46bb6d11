#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for QEMU where only touches matter: hands its userfaultfd to the daemon, and
then touches the slots it is told on standard input ("boot 3", "window 0"), saying "done"
after each. It never connects again.

toucher.py VHOST-SOCKET BOOT-PATH WINDOW-PATH"""

import sys

from peer import Peer


def main():
    vhost, boot, window = sys.argv[1:]
    peer = Peer({"vhost-socket": vhost, "boot-path": boot, "window-path": window}).connect().hand_over()
    print("ready", flush=True)
    for line in sys.stdin:
        name, slot = line.split()
        value = (peer.window if name == "window" else peer.boot).touch(int(slot))
        if value:
            raise AssertionError(f"{line.strip()}: holds {value}, not 0")
        print("done", flush=True)


main()
