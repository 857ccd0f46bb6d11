// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease stop: shut a guest down by its power button, or end its QEMU.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "silence.h"
#include "verb.h"
#include "view.h"

#define POLL_US 200000
#define QMP_TIMEOUT_MS 5000
#define DEFAULT_TIMEOUT_MS 60000
#define KILL_TIMEOUT_MS 10000

static int64_t now_ms(void)
{
	return (int64_t)(ml_boot_ns(&ml_clock_real) / 1000000);
}

/* 1: the VM is gone; 0: not within the time; -1 after a complaint. */
static int wait_gone(struct qmp *c, const char *name, const char *uuid, int64_t timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	do {
		auto_json json_t *json = NULL;
		int err = qmp_call(c, "query-vm", cli_name_args(name), CLI_CALL_TIMEOUT_MS, &json);

		if (err == -EREMOTEIO && !strcmp(qmp_error_class(c), "DeviceNotFound"))
			return 1;
		if (err) {
			cli_error("stop: %s", qmp_error(c));
			return -1;
		}
		/* Another VM of the same name may have begun. */
		if (strcmp(json_string_value(json_object_get(json, "uuid")) ?: "", uuid))
			return 1;
		usleep(POLL_US);
	} while (now_ms() < end);
	return 0;
}

/* Why a VM may not see its power button, to go behind what is said of it; or "". */
static const char *reason(const struct vm_view *vm, char text[VIEW_TEXT_MAX + 2])
{
	char why[VIEW_TEXT_MAX] = "it stands still until there is memory for what it touched";

	if (!vm->waiting_touches)
		vm_halted(vm, why);
	snprintf(text, VIEW_TEXT_MAX + 2, "%s%s", why[0] ? ": " : "", why);
	return text;
}

/* Press the power button. 0, or -1 after a complaint. */
static int powerdown(const struct vm_view *vm)
{
	auto_qmp struct qmp *qmp = NULL;
	auto_json json_t *ret = NULL;
	char because[VIEW_TEXT_MAX + 2];
	struct ml_why why;
	int err = qmp_open(vm->qmp_socket, QMP_TIMEOUT_MS, &qmp, &why);

	if (!err && (err = qmp_call(qmp, "system_powerdown", NULL, QMP_TIMEOUT_MS, &ret)) == -EREMOTEIO) {
		cli_error("stop: QEMU refuses to press the power button: %s", qmp_error(qmp));
		return -1;
	}
	if (err) {
		cli_error("stop: QEMU's monitor does not answer (%s)%s; 'memlease stop %s --force' ends the VM without it",
			  qmp ? qmp_error(qmp) : why.text, reason(vm, because), vm->name);
		return -1;
	}
	return 0;
}

/* It has not ended in time: say what it is doing instead. */
static void complain_runs(struct qmp *c, const struct vm_view *then, int64_t timeout_ms)
{
	auto_json json_t *json = NULL;
	char because[VIEW_TEXT_MAX + 2];
	struct vm_view vm = *then;

	if (!qmp_call(c, "query-vm", cli_name_args(then->name), CLI_CALL_TIMEOUT_MS, &json))
		vm_view(json, &vm);
	cli_error("stop: %s still runs after %" PRId64 " s%s; wait longer by --timeout, or end it by 'memlease stop %s --force'",
		  then->name, timeout_ms / 1000, reason(&vm, because), then->name);
}

static int stop_gently(struct qmp *c, const struct vm_view *vm, int64_t timeout_ms)
{
	int gone;

	if (powerdown(vm))
		return CLI_FAILED;
	printf("Pressed the power button of %s; waiting for its guest to shut down.\n", vm->name);
	cli_flush();
	gone = wait_gone(c, vm->name, vm->uuid, timeout_ms);
	if (gone > 0) {
		printf("%s has ended.\n", vm->name);
		return CLI_OK;
	}
	if (!gone)
		complain_runs(c, vm, timeout_ms);
	return CLI_FAILED;
}

static int stop_by_force(struct qmp *c, const struct vm_view *vm)
{
	auto_json json_t *ret = cli_call(c, "vm-kill", cli_name_args(vm->name));
	int gone;

	if (!ret)
		return CLI_FAILED;
	printf("Killed QEMU of %s (process %" PRIu64 ").\n", vm->name, vm->pid);
	cli_flush();
	gone = wait_gone(c, vm->name, vm->uuid, KILL_TIMEOUT_MS);
	if (gone > 0) {
		printf("%s has ended.\n", vm->name);
		return CLI_OK;
	}
	if (!gone)
		cli_error("stop: the daemon still knows %s; 'memlease status %s' and its log may say why",
			  vm->name, vm->name);
	return CLI_FAILED;
}

static int stop(const char *socket, const char *name, bool force, int64_t timeout_ms)
{
	auto_qmp struct qmp *c = cli_connect(socket);
	auto_json json_t *json = NULL;
	struct vm_view vm;

	if (!c)
		return CLI_FAILED;
	json = cli_call(c, "query-vm", cli_name_args(name));
	if (!json)
		return CLI_FAILED;
	vm_view(json, &vm);
	if (!strcmp(vm.state, "defined")) {
		auto_json json_t *ret = cli_call(c, "vm-delete", cli_name_args(name));

		if (!ret)
			return CLI_FAILED;
		printf("%s had no QEMU; it is forgotten.\n", name);
		return CLI_OK;
	}
	return force ? stop_by_force(c, &vm) : stop_gently(c, &vm, timeout_ms);
}

struct options {
	struct arg_number timeout;
	const char *socket, *name;
	bool force;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { .timeout = { false, DEFAULT_TIMEOUT_MS } };
	int answer = args_parse(&verb_stop, argc, argv, &o);

	if (answer)
		return args_exit(answer);
	if (o.force && o.timeout.given) {
		cli_error("stop: --timeout is for a gentle stop, --force does not wait for the guest");
		return CLI_USAGE;
	}
	return stop(o.socket, o.name, o.force, o.timeout.value);
}

static const struct arg_opt opts[] = {
	{ .name = "force", .kind = ARG_FLAG, .at = AT(force),
	  .help = "end its QEMU at once, as by pulling the plug" },
	{ .name = "timeout", .kind = ARG_SPAN, .at = AT(timeout), .value = "TIME",
	  .help = "how long to wait for the guest, 60s unless given" },
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_stop = {
	.name = "stop", .brief = "shut a VM down",
	.synopsis = "NAME [--timeout TIME | --force]",
	.about = "Shut a VM down as by its power button, and wait until it has ended. Its memory\nis back in the pool then, and its bill is complete. A VM that never had a QEMU is\nforgotten.",
	ARG_OPTS(opts), .words = ARG_WORDS_VM(AT(name), 1), .run = run,
};
