/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's command line for a VM that the daemon knows.
 */
#ifndef ML_CLI_QEMU_ARGS_H
#define ML_CLI_QEMU_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "view.h"
#include "words.h"

#define QEMU_RECONNECT_MS 200
/* The window lies at a multiple of 128 MiB; x86 also rounds memory devices up to a GiB. */
#define QEMU_MAXMEM_SLACK_BLOCKS 512

struct qemu_spec {
	const char *qemu;	/* path of the binary */
	bool kvm;		/* else emulated */
	int cpus;
	const char *disk, *disk_format;	/* or NULL */
	const char *kernel, *initrd, *append;	/* or NULL */
	bool detach;		/* console to a socket and a log, not to the terminal */
	bool terminal;		/* standard input is one */
	uint32_t uid;		/* whom it becomes once it has opened all; 0: it stays who it is */
	int console_log;	/* detached: an open descriptor for what the console prints */
	char **extra;		/* what followed "--", ended by NULL; or NULL */
};

/* Files of a detached VM, beside its QMP socket; suffix like "console.sock". NULL: out of memory. */
char *qemu_side_file(const struct vm_view *vm, const char *suffix);

/*
 * Append all words to out. What the user's own words after "--" set (display,
 * serial port) is left to them. -ENOMEM.
 */
int qemu_args(const struct vm_view *vm, const struct qemu_spec *spec, struct words *out);

/* "qcow2" or "raw", by the file's first bytes; -errno. */
int qemu_disk_format(const char *path, const char **format);

#endif /* ML_CLI_QEMU_ARGS_H */
