// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Builds QEMU's command line. Called by run; starts nothing. Why the options are
 * what they are: docs/qemu.md of this project, and the device's own page in the
 * patched QEMU.
 */
#include "qemu_args.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/memlease_ioctl.h"
#include "../base/block.h"
#include "../base/cleanup.h"
#include "../base/terms.h"
#include "qemu_jail.h"

#define CONSOLE_LOG_SET 99	/* of -add-fd; the user may have others */

/* A comma inside a value of QEMU's is written twice. */
static char *double_commas(const char *text)
{
	char *to = malloc(2 * strlen(text) + 1), *p = to;

	for (; to && *text; text++) {
		*p++ = *text;
		if (*text == ',')
			*p++ = ',';
	}
	if (to)
		*p = '\0';
	return to;
}

static bool extra_has(const struct qemu_spec *spec, const char *option)
{
	for (char **word = spec->extra; word && *word; word++) {
		const char *name = *word;

		if (name[0] == '-' && name[1] == '-')
			name++;
		if (!strcmp(name, option))
			return true;
	}
	return false;
}

char *qemu_side_file(const struct vm_view *vm, const char *suffix)
{
	static const char tail[] = ML_QMP_SOCKET_TAIL;
	size_t len = strlen(vm->qmp_socket);
	char *path;

	if (len > strlen(tail) && !strcmp(vm->qmp_socket + len - strlen(tail), tail))
		len -= strlen(tail);
	return asprintf(&path, "%.*s.%s", (int)len, vm->qmp_socket, suffix) < 0 ? NULL : path;
}

/*
 * The host's CPU, but on a reserved pool without virtualisation: hosts before Linux 6.13
 * let the CPU use pages of a guest's guest that were taken away.
 */
static const char *kvm_cpu(const struct vm_view *vm)
{
	return strncmp(vm->boot_path, MEMLEASE_POOL_WINDOWS, strlen(MEMLEASE_POOL_WINDOWS)) ?
	       "host" : "host,vmx=off,svm=off";
}

static void add_machine(const struct vm_view *vm, const struct qemu_spec *spec, struct words *out)
{
	words_add(out, spec->qemu);
	words_optf(out, "-name", "%s,debug-threads=on", vm->name);
	words_optf(out, "-uuid", "%s", vm->uuid);
	words_add(out, "-nodefaults");
	words_add(out, "-no-user-config");
	words_optf(out, "-machine", "q35,memory-backend=mlboot");
	words_optf(out, "-accel", "%s", spec->kvm ? "kvm" : "tcg,thread=multi");
	words_optf(out, "-cpu", "%s", spec->kvm ? kvm_cpu(vm) : "max");
	words_optf(out, "-smp", "%d", spec->cpus);
	words_optf(out, "-m", "%" PRIu64 "M,maxmem=%" PRIu64 "M", vm->boot_blocks * ML_MIB_PER_BLOCK,
		   (vm->boot_blocks + vm->window_blocks + QEMU_MAXMEM_SLACK_BLOCKS) * ML_MIB_PER_BLOCK);
}

static int add_backend(const char *id, const char *path, uint64_t blocks, struct words *out)
{
	ml_autofree char *quoted = double_commas(path);

	if (!quoted)
		return -ENOMEM;
	/*
	 * A page of page tables reaches over an aligned GiB, and stays when what it maps has
	 * gone: N GiB shall need N of them, not N + 1. QEMU wants whole ones then.
	 * reserve=off: on hugetlbfs Linux would set all of it aside; elsewhere it means nothing.
	 */
	words_optf(out, "-object",
		   "memory-backend-file,id=%s,size=%" PRIu64 "M,mem-path=%s,share=on,align=%s,prealloc=off,reserve=off",
		   id, blocks * ML_MIB_PER_BLOCK, quoted, blocks % ML_BLOCKS_PER_GIB ? "2M" : "1G");
	return 0;
}

/*
 * Ahead of all sockets, which QEMU would put in the place of those of a QEMU that runs: a file
 * that is there until the VM has one.
 */
static int add_once(const struct vm_view *vm, struct words *out)
{
	ml_autofree char *file = NULL;

	if (!vm->unstarted_path || !vm->unstarted_path[0])
		return 0;
	file = double_commas(vm->unstarted_path);
	if (!file)
		return -ENOMEM;
	words_optf(out, "-chardev", "file,id=once,path=/dev/null,input-path=%s", file);
	return 0;
}

static int add_memory(const struct vm_view *vm, struct words *out)
{
	ml_autofree char *socket = double_commas(vm->vhost_socket);
	int err;

	if (!socket)
		return -ENOMEM;
	err = add_backend("mlboot", vm->boot_path, vm->boot_blocks, out);
	if (!err)
		err = add_backend("mlwindow", vm->window_path, vm->window_blocks, out);
	words_optf(out, "-chardev", "socket,id=memlease,path=%s,reconnect-ms=%d", socket, QEMU_RECONNECT_MS);
	words_optf(out, "-device",
		   "vhost-user-memlease-pci,id=memlease0,chardev=memlease,memdev=mlwindow,bootmem=mlboot");
	return err;
}

static int add_disk(const struct qemu_spec *spec, struct words *out)
{
	ml_autofree char *file = NULL;

	if (!spec->disk)
		return 0;
	file = double_commas(spec->disk);
	if (!file)
		return -ENOMEM;
	/* Buffered: guest memory without struct pages cannot take direct I/O. */
	words_optf(out, "-drive", "file=%s,if=none,id=disk0,format=%s,cache=writeback,aio=threads,discard=unmap",
		   file, spec->disk_format);
	words_optf(out, "-device", "virtio-blk-pci,drive=disk0,bootindex=1");
	if (!extra_has(spec, "-nic") && !extra_has(spec, "-netdev")) {
		words_optf(out, "-netdev", "user,id=net0");
		words_optf(out, "-device", "virtio-net-pci,netdev=net0,romfile=");
	}
	return 0;
}

/* Is `name` set in a kernel command line? name ends with '='. */
static bool cmdline_sets(const char *cmdline, const char *name)
{
	for (const char *p = cmdline; p && (p = strstr(p, name)); p++)
		if (p == cmdline || p[-1] == ' ')
			return true;
	return false;
}

static void add_kernel(const struct qemu_spec *spec, struct words *out)
{
	const char *append = spec->append ? spec->append : "";

	if (!spec->kernel)
		return;
	words_optf(out, "-kernel", "%s", spec->kernel);
	if (spec->initrd)
		words_optf(out, "-initrd", "%s", spec->initrd);
	words_optf(out, "-append", "%s%s%s%s", append,
		   cmdline_sets(append, "console=") ? "" : *append ? " console=ttyS0" : "console=ttyS0",
		   /* The page array of borrowed memory in that memory, not in boot memory. */
		   cmdline_sets(append, "memory_hotplug.memmap_on_memory=") ? "" :
		   " memory_hotplug.memmap_on_memory=1",
		   /* Or Linux sets 64 MiB aside for devices that reach 4 GiB only; ours reach all. */
		   cmdline_sets(append, "swiotlb=") ? "" : " swiotlb=noforce");
}

static int add_console(const struct vm_view *vm, const struct qemu_spec *spec, struct words *out)
{
	ml_autofree char *socket = NULL, *quoted = NULL;

	if (!extra_has(spec, "-display") && !extra_has(spec, "-nographic"))
		words_optf(out, "-display", "none");
	if (extra_has(spec, "-serial") || extra_has(spec, "-nographic"))
		return 0;
	if (!spec->detach) {
		words_optf(out, "-serial", "%s", spec->terminal ? "mon:stdio" : "stdio");
		return 0;
	}
	socket = qemu_side_file(vm, "console.sock");
	quoted = socket ? double_commas(socket) : NULL;
	if (!quoted)
		return -ENOMEM;
	/* QEMU would follow a link that somebody has put at the log's path. */
	words_optf(out, "-add-fd", "fd=%d,set=%d", spec->console_log, CONSOLE_LOG_SET);
	words_optf(out, "-chardev", "socket,id=console,path=%s,server=on,wait=off,logfile=/dev/fdset/%d,logappend=off",
		   quoted, CONSOLE_LOG_SET);
	words_optf(out, "-serial", "chardev:console");
	return 0;
}

static int add_monitor(const struct vm_view *vm, struct words *out)
{
	ml_autofree char *socket = double_commas(vm->qmp_socket);

	if (!socket)
		return -ENOMEM;
	words_optf(out, "-qmp", "unix:%s,server=on,wait=off", socket);
	return 0;
}

int qemu_args(const struct vm_view *vm, const struct qemu_spec *spec, struct words *out)
{
	int err;

	add_machine(vm, spec, out);
	err = add_once(vm, out);
	if (!err)
		err = add_memory(vm, out);
	if (!err)
		err = add_monitor(vm, out);
	words_optf(out, "-device", "virtio-rng-pci");
	qemu_jail_args(spec->uid, spec->extra, out);
	if (!err)
		err = add_disk(spec, out);
	add_kernel(spec, out);
	if (!err)
		err = add_console(vm, spec, out);
	for (char **word = spec->extra; word && *word; word++)
		words_add(out, *word);
	return err ? err : out->no_memory ? -ENOMEM : 0;
}

int qemu_disk_format(const char *path, const char **format)
{
	static const char qcow2[4] = { 'Q', 'F', 'I', '\xfb' };
	ml_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char magic[4];

	if (fd < 0)
		return -errno;
	errno = 0;
	if (read(fd, magic, sizeof(magic)) != sizeof(magic))
		return errno ? -errno : -EINVAL;
	*format = memcmp(magic, qcow2, sizeof(qcow2)) ? "raw" : "qcow2";
	return 0;
}
