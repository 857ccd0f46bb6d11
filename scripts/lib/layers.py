# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of scripts/layers: who stands on whom. Used by scripts/check-layers."""
import os
import sys

PARTS = ('proto', 'guest', 'host/module', 'host', 'qemu-patches')


def part_of(path):
    """Which program a path belongs to: one of PARTS, or its first folder."""
    for part in PARTS:
        if path == part or path.startswith(part + '/'):
            return part
    return path.split('/')[0]


def stem(path):
    """The name under which scripts/layers has a file: log for log.c and log.h, ledger for ledger.sql."""
    return os.path.basename(path).split('.')[0]


class Layers:
    def __init__(self):
        self.folders = []   # in order
        self.uses = {}      # folder: the only ones that it uses, where the list says so
        self.steps = {}     # folder: its steps, each a list of stems
        self.rank = {}      # (folder, stem): number of its step

    def folder_of(self, path):
        folder = os.path.dirname(path)
        return folder if folder in self.steps else None

    def unlisted(self, path):
        """The complaint about a file that the list does not know, or None."""
        if path.startswith('qemu-patches/'):
            return None
        folder = self.folder_of(path)
        if folder is None:
            return f'{path}: scripts/layers has no folder {os.path.dirname(path)}'
        if (folder, stem(path)) not in self.rank:
            return f'{path}: scripts/layers does not say on which step of {folder} {stem(path)} stands'
        return None

    def forbids_folder(self, user, used):
        """Why nothing in one folder may use anything in the other, or None."""
        if used == 'proto' and user != 'proto':
            return None
        if part_of(user) != part_of(used):
            return f'{part_of(user)} must not use {part_of(used)}'
        if user in self.uses:
            if used not in self.uses[user]:
                return f'{user} must not use {used}'
            return None
        if self.folders.index(used) > self.folders.index(user):
            return f'{user} must not use {used}, which stands above it'
        return None

    def forbids(self, user, used):
        """Why one file may not use the other, or None."""
        home, other = self.folder_of(user), self.folder_of(used)
        if user.startswith('qemu-patches/'):
            return None if other == 'proto' else 'qemu-patches must not use ' + part_of(used)
        if home is None or other is None:
            return None     # told by unlisted()
        if home != other:
            return self.forbids_folder(home, other)
        mine, its = self.rank.get((home, stem(user))), self.rank.get((home, stem(used)))
        if mine is None or its is None or its < mine or stem(user) == stem(used):
            return None
        where = 'on the same step' if its == mine else 'above it'
        return f'{stem(user)} must not use {stem(used)}, which stands {where} in {home}'

    def staircase(self):
        out, part = '', None
        for folder in self.folders:
            if part is not None and part_of(folder) != part:
                out += '\n'
            part = part_of(folder)
            out += folder
            if folder in self.uses:
                out += ' (uses ' + (', '.join(self.uses[folder][1:]) or 'nothing') + ')'
            out += '\n'
            for level, step in enumerate(self.steps[folder], 1):
                out += '  ' * level + ' '.join(step) + '\n'
        return out


def read(path):
    """Parse the list; exits with a sentence if it contradicts itself."""
    order, folder = Layers(), None
    with open(path, encoding='utf-8') as text:
        for number, line in enumerate(text, 1):
            line = line.split('#')[0].rstrip()
            if not line:
                continue
            words = line.split()
            if not line[0].isspace():
                folder = words[0]
                if folder in order.steps:
                    sys.exit(f'{path}:{number}: {folder} stands here a second time')
                order.folders.append(folder)
                order.steps[folder] = []
                if words[1:2] == ['uses']:
                    order.uses[folder] = [folder] + [w for w in words[2:] if w != 'nothing']
                continue
            for word in words:
                if (folder, word) in order.rank:
                    sys.exit(f'{path}:{number}: {word} stands on a second step of {folder}')
                order.rank[folder, word] = len(order.steps[folder])
            order.steps[folder].append(words)
    return order
