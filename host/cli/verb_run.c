// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease run: make a VM and start its QEMU.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "args.h"
#include "cli.h"
#include "kvm_probe.h"
#include "launch.h"
#include "qemu_args.h"
#include "units.h"

#define CPUS_MAX 255

struct run {
	const char *socket, *tenant, *plan, *name, *accel;
	struct arg_number boot, limit, guarantee, weight, cpus;
	struct qemu_spec qemu;
	bool print, detach;
};

/* Everything that can be known to be wrong before the daemon is asked. */
static int check_files(struct run *r)
{
	struct qemu_spec *q = &r->qemu;
	int err;

	if (!q->disk == !q->kernel) {
		cli_error("run: %s; give one of them", q->disk ?
			  "both a disk image and --kernel are given" : "neither a disk image nor --kernel is given");
		return -EINVAL;
	}
	if (!q->kernel && (q->initrd || q->append)) {
		cli_error("run: %s goes with --kernel", q->initrd ? "--initrd" : "--append");
		return -EINVAL;
	}
	if (q->disk && (err = qemu_disk_format(q->disk, &q->disk_format))) {
		cli_error("run: disk image '%s': %s", q->disk,
			  err == -EINVAL ? "it is empty" : strerror(-err));
		return err;
	}
	if (q->kernel && access(q->kernel, R_OK)) {
		cli_error("run: kernel '%s': %s", q->kernel, strerror(errno));
		return -errno;
	}
	if (q->initrd && access(q->initrd, R_OK)) {
		cli_error("run: initrd '%s': %s", q->initrd, strerror(errno));
		return -errno;
	}
	return 0;
}

static void choose_accel(struct run *r)
{
	char why[256];

	r->qemu.kvm = !strcmp(r->accel, "kvm");
	if (strcmp(r->accel, "auto"))
		return;
	r->qemu.kvm = kvm_probe(why, sizeof(why));
	if (!r->qemu.kvm)
		cli_error("run: KVM cannot run a guest here (%s): emulating, which is much slower", why);
}

static json_t *create_args(const struct run *r)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", r->name, "tenant", r->tenant,
				 "plan", r->plan, "boot", (json_int_t)r->boot.value,
				 "limit", (json_int_t)r->limit.value);

	if (args && r->guarantee.given)
		json_object_set_new(args, "guarantee", json_integer(r->guarantee.value));
	if (args && r->weight.given)
		json_object_set_new(args, "weight", json_integer(r->weight.value));
	return args;
}

/* Forget the VM if its QEMU never reached the daemon. */
static void forget(const struct run *r, const char *uuid)
{
	char buf[4096], why[QMP_WHY_MAX];
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *json = NULL, *ret = NULL;
	struct vm_view vm;

	if (qmp_open(cli_socket_path(r->socket, buf, sizeof(buf)), CLI_CALL_TIMEOUT_MS, &c, why) ||
	    qmp_call(c, "query-vm", cli_name_args(r->name), CLI_CALL_TIMEOUT_MS, &json))
		return;
	vm_view(json, &vm);
	if (strcmp(vm.state, "defined") || strcmp(vm.uuid, uuid))
		return;
	if (!qmp_call(c, "vm-delete", cli_name_args(r->name), CLI_CALL_TIMEOUT_MS, &ret))
		cli_error("run: QEMU never reached the daemon; VM '%s' is forgotten again", r->name);
}

static int start(struct run *r, struct qmp **c, const struct vm_view *vm, const struct words *qemu)
{
	ml_autofree char *log = NULL;
	int status;

	if (r->print) {
		words_print_quoted(qemu, stdout, true);
		cli_error("run: VM '%s' is registered and waits for this QEMU; 'memlease stop %s' forgets it",
			  r->name, r->name);
		return CLI_OK;
	}
	if (r->detach) {
		log = qemu_side_file(vm, "qemu.log");
		status = log ? launch_detached(qemu, *c, r->name, log) : CLI_FAILED;
		if (status)
			forget(r, vm->uuid);
		return status;
	}
	/* No connection is held while the VM lives. */
	qmp_close(*c);
	*c = NULL;
	status = launch_foreground(qemu);
	forget(r, vm->uuid);
	if (status > 128)
		cli_error("run: QEMU was ended by signal %d; if it was not you, the daemon's log says why", status - 128);
	return status;
}

/* The daemon rounds the window down to what guests can add; nobody shall be surprised later. */
static void say_limit(const struct run *r, const struct vm_view *vm)
{
	uint64_t asked = (uint64_t)r->limit.value / SIZE_BLOCK_BYTES;
	char want[SIZE_TEXT_MAX], got[SIZE_TEXT_MAX];

	if (vm->limit_blocks && vm->limit_blocks != asked)
		cli_error("run: the limit is %s, not %s: what lies above boot memory comes in pieces of 128 MiB",
			  size_format_blocks(vm->limit_blocks, got), size_format_blocks(asked, want));
}

static int run(struct run *r)
{
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *json = NULL, *args = NULL;
	auto_words struct words qemu = { 0 };
	struct vm_view vm;

	c = cli_connect(r->socket);
	if (!c)
		return CLI_FAILED;
	args = create_args(r);
	if (!args) {
		cli_error("run: a name, tenant or plan is not UTF-8");
		return CLI_USAGE;
	}
	choose_accel(r);
	json = cli_call(c, "vm-create", json_incref(args));
	if (!json)
		return CLI_FAILED;
	vm_view(json, &vm);
	say_limit(r, &vm);
	if (qemu_args(&vm, &r->qemu, &qemu)) {
		cli_error("out of memory");
		forget(r, vm.uuid);
		return CLI_FAILED;
	}
	return start(r, &c, &vm, &qemu);
}

static int prepare(struct run *r, char *buf, size_t size)
{
	if (r->print && r->detach) {
		cli_error("run: --print starts nothing, so it cannot be detached; give one of them");
		return CLI_USAGE;
	}
	if (check_files(r))
		return CLI_USAGE;
	r->qemu.qemu = launch_find_qemu(r->qemu.qemu, buf, size);
	if (!r->qemu.qemu)
		return CLI_FAILED;
	r->qemu.cpus = (int)r->cpus.value;
	r->qemu.detach = r->detach;
	r->qemu.terminal = r->print || isatty(STDIN_FILENO);
	return CLI_OK;
}

int verb_run(int argc, char **argv)
{
	static const char *const accels[] = { "auto", "kvm", "tcg", NULL };
	struct run r = { .accel = "auto", .cpus = { false, 1 } };
	char buf[4096];
	const struct arg_opt opts[] = {
		{ .name = "tenant", .kind = ARG_TEXT, .to = &r.tenant, .value = "TENANT", .help = "who pays", .required = true },
		{ .name = "plan", .kind = ARG_TEXT, .to = &r.plan, .value = "PLAN", .help = "at which prices; 'memlease plans' shows them", .required = true },
		{ .name = "name", .kind = ARG_TEXT, .to = &r.name, .value = "NAME", .help = "the VM's name", .required = true },
		{ .name = "boot", .kind = ARG_SIZE, .to = &r.boot, .value = "SIZE", .help = "memory it starts with", .required = true },
		{ .name = "limit", .kind = ARG_SIZE, .to = &r.limit, .value = "SIZE", .help = "the most it can ever have, boot memory included", .required = true },
		{ .name = "guarantee", .kind = ARG_SIZE, .to = &r.guarantee, .value = "SIZE", .help = "memory it never has to wait for" },
		{ .name = "weight", .kind = ARG_INT, .to = &r.weight, .value = "N", .min = 1, .max = 10000, .help = "its share when the pool is short; 100 is ordinary" },
		{ .name = "kernel", .kind = ARG_TEXT, .to = &r.qemu.kernel, .value = "FILE", .help = "boot this kernel instead of a disk image" },
		{ .name = "initrd", .kind = ARG_TEXT, .to = &r.qemu.initrd, .value = "FILE", .help = "with this initial ramdisk" },
		{ .name = "append", .kind = ARG_TEXT, .to = &r.qemu.append, .value = "WORDS", .help = "more words on the kernel's command line" },
		{ .name = "cpus", .kind = ARG_INT, .to = &r.cpus, .value = "N", .min = 1, .max = CPUS_MAX, .help = "CPUs of the guest, 1 unless given" },
		{ .name = "accel", .kind = ARG_TEXT, .to = &r.accel, .value = "HOW", .choices = accels, .help = "auto tries KVM, and emulates (tcg) where it does not work" },
		{ .name = "print", .kind = ARG_FLAG, .to = &r.print, .help = "register the VM and print QEMU's command line" },
		{ .name = "detach", .kind = ARG_FLAG, .to = &r.detach, .help = "return when the VM runs; its console is a socket and a log" },
		{ .name = "qemu", .kind = ARG_TEXT, .to = &r.qemu.qemu, .value = "PATH", .help = "QEMU with the memlease device (or $MEMLEASE_QEMU)" },
		CLI_OPT_SOCKET(&r.socket),
	};
	const struct arg_spec spec = {
		.verb = "run",
		.synopsis = "--tenant T --plan P --name N --boot SIZE --limit SIZE [OPTIONS] (DISK | --kernel FILE [--initrd FILE]) [-- QEMU-ARGS]",
		.about = "Start a VM whose memory grows and shrinks. It runs on this terminal (Ctrl-a x ends\nit) unless detached; QEMU's exit status is passed on. What follows '--' goes to QEMU.",
		.examples = "  memlease run --tenant acme --plan standard --name web1 --boot 512M --limit 4G web1.qcow2\n  memlease run --tenant acme --plan standard --name t1 --boot 256M --limit 3G --kernel vmlinuz --initrd initrd.img --detach\n",
		.opts = opts, .opt_count = sizeof(opts) / sizeof(opts[0]),
		.positional = &r.qemu.disk, .positional_max = 1,
		.rest = &r.qemu.extra,
	};
	int answer = args_parse(&spec, argc, argv);

	if (answer)
		return cli_args_exit(answer);
	answer = prepare(&r, buf, sizeof(buf));
	return answer ? answer : run(&r);
}
