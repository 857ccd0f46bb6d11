// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease run: make a VM and start its QEMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/cleanup.h"
#include "../base/terms.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "kvm_probe.h"
#include "launch.h"
#include "qemu_args.h"
#include "qemu_jail.h"
#include "units.h"
#include "verb.h"
#include "when.h"

#define CPUS_MAX 255

struct options {
	const char *socket, *tenant, *plan, *name, *accel;
	struct arg_number boot, limit, guarantee, weight, cpus;
	struct qemu_spec qemu;
	struct arg_number uid_base;
	bool print, detach;
};

/* Everything that can be known to be wrong before the daemon is asked. */
static int check_files(struct options *r)
{
	struct qemu_spec *q = &r->qemu;
	struct ml_why why = { "" };
	int err;

	err = qemu_jail_check(q->extra, &why);
	if (err) {
		cli_error("run: %s", why.text);
		return err;
	}
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

static void choose_accel(struct options *r)
{
	struct ml_why why;

	r->qemu.kvm = !strcmp(r->accel, "kvm");
	if (strcmp(r->accel, "auto"))
		return;
	r->qemu.kvm = kvm_probe(&why) == 0;
	if (!r->qemu.kvm)
		cli_error("run: KVM cannot run a guest here (%s): emulating, which is much slower",
			  why.text);
}

static json_t *create_args(const struct options *r)
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

/* Forget the VM if its QEMU never reached the daemon. what: what happened, for people. */
static void forget_vm(const struct options *r, const char *uuid, const char *what)
{
	char buf[4096];
	struct ml_why why;
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *json = NULL, *ret = NULL;
	struct vm_view vm;

	if (qmp_open(cli_socket_path(r->socket, buf, sizeof(buf)), CLI_CALL_TIMEOUT_MS, &c, &why) ||
	    qmp_call(c, "query-vm", cli_name_args(r->name), CLI_CALL_TIMEOUT_MS, &json))
		return;
	vm_view(json, &vm);
	if (strcmp(vm.state, "defined") || strcmp(vm.uuid, uuid))
		return;
	if (!qmp_call(c, "vm-delete", cli_name_args(r->name), CLI_CALL_TIMEOUT_MS, &ret))
		cli_error("run: %s; VM '%s' is forgotten again", what, r->name);
}

/* The line, and that the VM is there without a QEMU. If that cannot be told, it must not be. */
static int print_line(const struct options *r, const struct vm_view *vm, const struct words *qemu)
{
	char when[WHEN_TEXT_MAX], until[WHEN_TEXT_MAX + 8] = " until it ends";

	words_print_quoted(qemu, stdout, true);
	if (cli_flush()) {
		forget_vm(r, vm->uuid, "QEMU's command line could not be printed");
		return CLI_FAILED;
	}
	if (vm->lapses_ms)
		snprintf(until, sizeof(until), " until %s", when_format_minute(vm->lapses_ms, when));
	cli_error("run: VM '%s' is registered and waits for this QEMU; what it was promised is held for it and is billed%s; 'memlease stop %s' forgets it",
		  r->name, until, r->name);
	return CLI_OK;
}

static int start_qemu(struct options *r, struct qmp **c, const struct vm_view *vm, const struct words *qemu)
{
	static const char never[] = "QEMU never reached the daemon";
	ml_autofree char *log = NULL;
	int status;

	if (launch_signal()) {
		forget_vm(r, vm->uuid, "a signal came");
		return 128 + launch_signal();
	}
	if (r->print)
		return print_line(r, vm, qemu);
	qemu_jail_close(r->qemu.extra);
	if (r->detach) {
		log = qemu_side_file(vm, "qemu.log");
		status = log ? launch_detached(qemu, *c, r->name, log) : CLI_FAILED;
		if (status)
			forget_vm(r, vm->uuid, never);
		return status;
	}
	/* No connection is held while the VM lives. */
	qmp_close(*c);
	*c = NULL;
	status = launch_foreground(qemu);
	forget_vm(r, vm->uuid, never);
	if (status > 128 && !launch_signal())
		cli_error("run: QEMU was ended by signal %d; if it was not you, the daemon's log says why", status - 128);
	return status;
}

/* The daemon rounds the window down to what guests can add; nobody shall be surprised later. */
static void say_limit(const struct options *r, const struct vm_view *vm)
{
	uint64_t asked = (uint64_t)r->limit.value / MEMLEASE_BLOCK_BYTES;
	char want[SIZE_TEXT_MAX], got[SIZE_TEXT_MAX];

	if (vm->limit_blocks && vm->limit_blocks != asked)
		cli_error("run: the limit is %s, not %s: what lies above boot memory comes in pieces of 128 MiB",
			  size_format_blocks(vm->limit_blocks, got), size_format_blocks(asked, want));
}

/*
 * The user that QEMU is to become: one that no other VM has, where root starts it, so that a
 * QEMU that its guest has taken over is nobody else's, and the daemon's least of all.
 */
static int choose_user(struct options *r, const struct vm_view *vm)
{
	struct ml_why why = { "" };

	r->qemu.uid = geteuid() || !r->uid_base.value ? 0 : (uint32_t)(r->uid_base.value + (int64_t)vm->number);
	if (!r->qemu.uid || !qemu_jail_path(vm->vhost_socket, &why))
		return 0;
	cli_error("run: %s", why.text);
	return -EACCES;
}

/* The console's log, where QEMU writes one: it is told a descriptor, so that no link leads it astray. */
static int open_console_log(struct options *r, const struct vm_view *vm)
{
	ml_autofree char *path = NULL;

	r->qemu.console_log = -1;
	if (!r->detach)
		return 0;
	path = qemu_side_file(vm, "console.log");
	r->qemu.console_log = path ? launch_log(path) : -1;
	/* QEMU inherits it. */
	return r->qemu.console_log < 0 || fcntl(r->qemu.console_log, F_SETFD, 0) ? -EIO : 0;
}

static int make_and_start(struct options *r)
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
	launch_hold_signals();
	json = cli_call(c, "vm-create", json_incref(args));
	if (!json)
		return CLI_FAILED;
	vm_view(json, &vm);
	say_limit(r, &vm);
	if (choose_user(r, &vm) || open_console_log(r, &vm)) {
		forget_vm(r, vm.uuid, "its QEMU could not be prepared");
		return CLI_FAILED;
	}
	if (qemu_args(&vm, &r->qemu, &qemu)) {
		cli_error("out of memory");
		forget_vm(r, vm.uuid, "there was no memory for QEMU's command line");
		return CLI_FAILED;
	}
	return start_qemu(r, &c, &vm, &qemu);
}

static int prepare(struct options *r, char *buf, size_t size)
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

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options r = { .accel = "auto", .cpus = { false, 1 }, .uid_base = { false, QEMU_UID_BASE } };
	int answer = args_parse(&verb_run, argc, argv, &r);
	char buf[4096];

	if (answer)
		return args_exit(answer);
	answer = prepare(&r, buf, sizeof(buf));
	return answer ? answer : make_and_start(&r);
}

static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

static const struct arg_opt opts[] = {
	{ .name = "tenant", .kind = ARG_TEXT, .at = AT(tenant), .value = "TENANT",
	  .required = true, .help = "who pays" },
	{ .name = "plan", .kind = ARG_TEXT, .at = AT(plan), .value = "PLAN", .required = true,
	  .listed_by = "plans --names",
	  .help = "at which prices; 'memlease plans' shows them" },
	{ .name = "name", .kind = ARG_TEXT, .at = AT(name), .value = "NAME", .required = true,
	  .help = "the VM's name" },
	{ .name = "boot", .kind = ARG_SIZE, .at = AT(boot), .value = "SIZE", .required = true,
	  .help = "memory it starts with" },
	{ .name = "limit", .kind = ARG_SIZE, .at = AT(limit), .value = "SIZE", .required = true,
	  .help = "the most it can ever have, boot memory included" },
	{ .name = "guarantee", .kind = ARG_SIZE, .at = AT(guarantee), .value = "SIZE",
	  .help = "memory it never has to wait for" },
	{ .name = "weight", .kind = ARG_INT, .at = AT(weight), .value = "N", .min = 1,
	  .max = ML_WEIGHT_MAX, .help = "its share when the pool is short; 100 is ordinary" },
	{ .name = "kernel", .kind = ARG_TEXT, .at = AT(qemu.kernel), .value = "FILE",
	  .is_file = true, .help = "boot this kernel instead of a disk image" },
	{ .name = "initrd", .kind = ARG_TEXT, .at = AT(qemu.initrd), .value = "FILE",
	  .is_file = true, .help = "with this initial ramdisk" },
	{ .name = "append", .kind = ARG_TEXT, .at = AT(qemu.append), .value = "WORDS",
	  .help = "more words on the kernel's command line" },
	{ .name = "cpus", .kind = ARG_INT, .at = AT(cpus), .value = "N", .min = 1,
	  .max = CPUS_MAX, .help = "CPUs of the guest, 1 unless given" },
	{ .name = "accel", .kind = ARG_TEXT, .at = AT(accel), .value = "HOW", .choices = accels,
	  .help = "auto tries KVM, and emulates (tcg) where it does not work" },
	{ .name = "uid-base", .kind = ARG_INT, .at = AT(uid_base), .value = "N", .max = QEMU_UID_BASE_MAX,
	  .help = "as root: QEMU becomes user N + the VM's number, 1879048192 unless given; 0: it stays root" },
	{ .name = "print", .kind = ARG_FLAG, .at = AT(print),
	  .help = "register the VM, whose memory is held for its QEMU for a while, and billed, and print QEMU's command line" },
	{ .name = "detach", .kind = ARG_FLAG, .at = AT(detach),
	  .help = "return when the VM runs; its console is a socket and a log" },
	{ .name = "qemu", .kind = ARG_TEXT, .at = AT(qemu.qemu), .value = "PATH",
	  .is_file = true, .help = "QEMU with the memlease device (or $MEMLEASE_QEMU)" },
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_run = {
	.name = "run", .brief = "start a VM",
	.synopsis = "--tenant T --plan P --name N --boot SIZE --limit SIZE [OPTIONS] (DISK | --kernel FILE [--initrd FILE]) [-- QEMU-ARGS]",
	.about = "Start a VM whose memory grows and shrinks. It runs on this terminal (Ctrl-a x ends\nit) unless detached; QEMU's exit status is passed on. What follows '--' goes to QEMU.",
	.examples = "  memlease run --tenant acme --plan standard --name web1 --boot 512M --limit 4G web1.qcow2\n  memlease run --tenant acme --plan standard --name t1 --boot 256M --limit 3G --kernel vmlinuz --initrd initrd.img --detach\n",
	ARG_OPTS(opts),
	.words = { .at = AT(qemu.disk), .max = 1, .name = "a disk image", .is_file = true },
	.takes_rest = true, .rest_at = AT(qemu.extra), .run = run,
};
