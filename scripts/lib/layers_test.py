# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/check-layers --self-test: trees that are in order pass, and each kind of disorder is named."""
import os
import subprocess
import sys
import tempfile

LIST = '''
proto uses nothing
    memlease_abi
guest/think
    pure
guest/door
    main
host/module
    main
host/base
    size
    log           # tells sizes
    left right
host/pool
    pool
host/lend
    lend
    vm
host/cli uses host/base
    main
'''
FILES = ['host/base/size', 'host/base/log', 'host/base/left', 'host/base/right', 'host/pool/pool',
         'host/lend/lend', 'host/lend/vm', 'host/cli/main', 'host/module/main', 'guest/think/pure',
         'guest/door/main']
# A file, what it includes, and what is said of it; None: it is in order.
INCLUDES = [
    ('host/base/log.c', 'log.h', None),
    ('host/base/log.c', 'size.h', None),
    ('host/base/size.c', 'log.h', 'size must not use log, which stands above it in host/base'),
    ('host/base/size.h', 'log.h', 'size must not use log, which stands above it in host/base'),
    ('host/base/left.c', 'right.h', 'left must not use right, which stands on the same step'),
    ('host/pool/pool.c', '../base/log.h', None),
    ('host/pool/pool.c', '../../proto/memlease_abi.h', None),
    ('host/base/log.c', '../pool/pool.h', 'host/base must not use host/pool'),
    ('host/cli/main.c', '../base/log.h', None),
    ('host/cli/main.c', '../lend/lend.h', 'host/cli must not use host/lend'),
    ('host/lend/vm.c', '../cli/main.h', 'host/lend must not use host/cli'),
    ('guest/door/main.c', '../../proto/memlease_abi.h', None),
    ('guest/door/main.c', '../think/pure.h', None),
    ('guest/think/pure.c', '../door/main.h', 'guest/think must not use guest/door'),
    ('guest/door/main.c', '../../host/base/log.h', 'guest must not use host'),
    ('host/module/main.c', '../base/log.h', 'host/module must not use host'),
    ('host/module/main.c', '../../proto/memlease_abi.h', None),
    ('host/lend/vm.c', '../module/main.h', 'host must not use host/module'),
    ('host/lend/vm.c', '../nowhere/gone.h', 'is no file of the project'),
    ('proto/memlease_abi.h', '../host/base/log.h', 'proto must not use host'),
    ('qemu-patches/0001-x.patch', 'memlease_abi.h', None),
    ('qemu-patches/0001-x.patch', 'host/lend/lend.h', 'qemu-patches must not use host'),
    ('qemu-patches/0001-x.patch', 'qemu/osdep.h', None),
    ('host/lend/stray.c', 'lend.h', 'does not say on which step of host/lend stray stands'),
    ('host/attic/old.c', '../base/log.h', 'has no folder host/attic'),
]
# Two files that declare and call each other's functions without a header, and what is said.
CALLS = [
    ('host/lend/vm.c', 'host/lend/lend.c', None),
    ('host/lend/lend.c', 'host/lend/vm.c', 'lend must not use vm, which stands above it in host/lend'),
    ('host/base/left.c', 'host/base/right.c', 'left must not use right, which stands on the same step'),
    ('host/base/log.c', 'host/pool/pool.c', 'host/base must not use host/pool'),
    ('host/cli/main.c', 'host/pool/pool.c', 'host/cli must not use host/pool'),
    ('host/cli/main.c', 'host/base/log.c', None),
]


def put(tree, path, text):
    os.makedirs(os.path.dirname(os.path.join(tree, path)), exist_ok=True)
    with open(os.path.join(tree, path), 'w', encoding='utf-8') as out:
        out.write(text)


def name_of(path):
    return path[:-2].replace('/', '_')


def make_tree(tree):
    put(tree, 'scripts/layers', LIST)
    put(tree, 'proto/memlease_abi.h', '')
    for path in FILES:
        put(tree, path + '.h', '')
        put(tree, path + '.c', f'int {name_of(path + ".c")}(void);\nint {name_of(path + ".c")}(void) {{ return 0; }}\n')


def compile_host(tree):
    for path in FILES:
        if path.startswith('host/') and not path.startswith('host/module/'):
            obj = os.path.join(tree, 'build/san', path + '.o')
            os.makedirs(os.path.dirname(obj), exist_ok=True)
            subprocess.run(['cc', '-c', '-o', obj, os.path.join(tree, path + '.c')], check=True)


def judge(script, tree, what, said, options=()):
    """Run the check; the sentence must be there, alone, or the check be silent."""
    ran = subprocess.run([sys.executable, script, *options, tree], capture_output=True, text=True, check=False)
    lines = ran.stdout.splitlines()
    right = ran.returncode == 0 and not lines if said is None else \
        ran.returncode == 1 and lines and all(said in line for line in lines)
    if not right:
        sys.exit(f'self-test: {what}: expected {said!r}; rc {ran.returncode}, {ran.stdout!r} {ran.stderr!r}')


def run(script):
    with tempfile.TemporaryDirectory() as clean:
        make_tree(clean)
        judge(script, clean, 'a tree that is not built', 'has no object of it')
        compile_host(clean)
        judge(script, clean, 'a tree in order', None)
        for path, include, said in INCLUDES:
            with tempfile.TemporaryDirectory() as tree:
                subprocess.run(['cp', '-a', clean + '/.', tree], check=True)
                plus = '+' if path.endswith('.patch') else ''
                put(tree, path, f'{plus}/* first line */\n{plus}#include "{include}"\n')
                if path.startswith('host/') and path.endswith('.c') and '/module/' not in path:
                    put(tree, 'build/san/' + path[:-2] + '.o', '')
                    subprocess.run(['cc', '-c', '-x', 'c', '-o', os.path.join(tree, 'build/san', path[:-2] + '.o'),
                                    '/dev/null'], check=True)
                judge(script, tree, f'{path} with "{include}"', said)
        for user, used, said in CALLS:
            with tempfile.TemporaryDirectory() as tree:
                subprocess.run(['cp', '-a', clean + '/.', tree], check=True)
                put(tree, user, f'int {name_of(used)}(void);\nint {name_of(user)}(void);\n'
                    f'int {name_of(user)}(void) {{ return {name_of(used)}(); }}\n')
                compile_host(tree)
                judge(script, tree, f'{user} calls {used}', said)
        check_list(script, clean)
        check_docs(script, clean)
    print(f'check-layers: {len(INCLUDES) + len(CALLS) + 5} cases behave as they should')
    return 0


def check_list(script, clean):
    """A list that names a file twice is refused."""
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(['cp', '-a', clean + '/.', tree], check=True)
        put(tree, 'scripts/layers', LIST.replace('    left right', '    left right size'))
        ran = subprocess.run([sys.executable, script, tree], capture_output=True, text=True, check=False)
        if ran.returncode == 0 or 'size stands on a second step' not in ran.stderr:
            sys.exit(f'self-test: a file on two steps: rc {ran.returncode}, {ran.stderr!r}')


def check_docs(script, clean):
    """The picture in the docs must be that of the list."""
    begin, end = '<!-- staircase: made by scripts/check-layers --write-docs -->', '<!-- staircase ends -->'
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(['cp', '-a', clean + '/.', tree], check=True)
        put(tree, 'docs/architecture.md', f'before\n{begin}\nold\n{end}\nafter\n')
        judge(script, tree, 'an old picture in the docs', 'the staircase is not that of scripts/layers')
        subprocess.run([sys.executable, script, '--write-docs', tree], check=True)
        judge(script, tree, 'a new picture in the docs', None)
