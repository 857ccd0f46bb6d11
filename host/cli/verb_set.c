// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease set: limit, guarantee and target of a VM; with --wait, how far the
 * guest came.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/terms.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "silence.h"
#include "units.h"
#include "verb.h"
#include "view.h"

#define POLL_US 100000
#define GRACE_MS 3000		/* after the deadline, for the guest's last word */

struct wish {
	const char *name;
	const char *target;	/* as written, or NULL */
	struct arg_number limit, guarantee, deadline;
	bool wait, json;
};

/* vm-set's arguments, or NULL after a complaint. */
static json_t *change_args(const struct wish *ch)
{
	auto_json json_t *args = cli_name_args(ch->name);
	uint64_t bytes;

	if (ch->limit.given)
		json_object_set_new(args, "limit", json_integer(ch->limit.value));
	if (ch->guarantee.given)
		json_object_set_new(args, "guarantee", json_integer(ch->guarantee.value));
	if (ch->target && !strcmp(ch->target, "none")) {
		json_object_set_new(args, "target", json_null());
	} else if (ch->target) {
		if (args_size("set", "--target", ch->target, &bytes))
			return NULL;
		json_object_set_new(args, "target", json_integer((json_int_t)bytes));
	}
	if (ch->deadline.given)
		json_object_set_new(args, "deadline-ms", json_integer(ch->deadline.value));
	return json_incref(args);
}

static int check_wish(const struct wish *ch)
{
	bool clears = ch->target && !strcmp(ch->target, "none");

	if (!ch->target && !ch->limit.given && !ch->guarantee.given) {
		cli_error("set: nothing to set; give --limit, --guarantee or --target");
		return -EINVAL;
	}
	if ((ch->deadline.given || ch->wait) && (!ch->target || clears)) {
		cli_error("set: %s goes with --target SIZE", ch->wait ? "--wait" : "--deadline");
		return -EINVAL;
	}
	return 0;
}

static void print_state(const struct vm_view *vm)
{
	char limit[SIZE_TEXT_MAX], guarantee[SIZE_TEXT_MAX], target[SIZE_TEXT_MAX];

	printf("%s: limit %s, guarantee %s, target %s\n", vm->name,
	       size_format_blocks(vm->limit_blocks, limit),
	       size_format_blocks(vm->guarantee_blocks, guarantee),
	       vm->has_target ? size_format_blocks(vm->target_blocks, target) : "none");
}

static void print_progress(const struct vm_view *vm, bool last)
{
	char committed[SIZE_TEXT_MAX], target[SIZE_TEXT_MAX];
	bool tty = isatty(STDERR_FILENO);

	if (!tty && !last)
		return;
	fprintf(stderr, "%scommitted %s, target %s%s", tty ? "\r\033[K" : "",
		size_format_blocks(vm->committed_blocks, committed),
		size_format_blocks(vm->target_blocks, target), last ? "\n" : "");
}

/* What became of the target, as exit status. */
static int judge(const struct vm_view *vm, uint64_t seq)
{
	char committed[SIZE_TEXT_MAX], target[SIZE_TEXT_MAX], kernel[SIZE_TEXT_MAX], silence[VIEW_TEXT_MAX];

	size_format_blocks(vm->committed_blocks, committed);
	size_format_blocks(vm->target_blocks, target);
	if (!vm->has_target || vm->target_seq != seq) {
		cli_error("set: somebody else changed the target of %s meanwhile", vm->name);
		return CLI_PARTLY;
	}
	if (!strcmp(vm->target_state, "met"))
		return CLI_OK;
	if (!strcmp(vm->target_state, "partly"))
		cli_error("set: %s came down to %s of %s; the rest is in use, %s of it in memory that its kernel uses itself. The target stands, and it goes on trying as memory is freed",
			  vm->name, committed, target, size_format_blocks(vm->guest.kernel_blocks, kernel));
	else
		cli_error("set: the guest of %s has not answered within the deadline: %s; committed is %s, and 'memlease status %s' says how far it comes",
			  vm->name, vm_silence(vm, ml_wall_ms(&ml_clock_real), silence)[0] ||
			  vm_halted(vm, silence)[0] ? silence : "it was heard of lately, and may still be at it",
			  committed, vm->name);
	return CLI_PARTLY;
}

static bool decided(const struct vm_view *vm, uint64_t seq)
{
	return vm->target_seq != seq || !vm->has_target || !strcmp(vm->target_state, "met") ||
	       !strcmp(vm->target_state, "partly");
}

/* Follow until the guest has decided or the deadline is well over. *json is the VM's last state. */
static int wait_target(struct qmp *c, const struct wish *ch, json_t **json)
{
	int64_t deadline_ms = ch->deadline.given ? ch->deadline.value : ML_DEADLINE_DEFAULT_MS;
	int64_t end = (int64_t)(ml_boot_ns(&ml_clock_real) / 1000000) + deadline_ms + GRACE_MS;
	struct vm_view vm;
	uint64_t seq;

	vm_view(*json, &vm);
	seq = vm.target_seq;
	while (!decided(&vm, seq) && (int64_t)(ml_boot_ns(&ml_clock_real) / 1000000) < end) {
		print_progress(&vm, false);
		usleep(POLL_US);
		json_decref(*json);
		*json = cli_call(c, "query-vm", cli_name_args(ch->name));
		if (!*json)
			return CLI_FAILED;
		vm_view(*json, &vm);
	}
	print_progress(&vm, true);
	return judge(&vm, seq);
}

static int set(const char *socket, const struct wish *ch)
{
	json_t *args = change_args(ch);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *json = NULL;
	int status = CLI_OK;
	struct vm_view vm;

	if (!args)
		return CLI_USAGE;
	c = cli_connect(socket);
	if (!c) {
		json_decref(args);
		return CLI_FAILED;
	}
	json = cli_call(c, "vm-set", args);
	if (!json)
		return CLI_FAILED;
	if (ch->wait)
		status = wait_target(c, ch, &json);
	if (status == CLI_FAILED)
		return status;
	if (ch->json) {
		cli_print_json(json);
		return status;
	}
	vm_view(json, &vm);
	print_state(&vm);
	return status;
}

struct options {
	struct wish ch;
	const char *socket;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_set, argc, argv, &o);

	if (answer)
		return args_exit(answer);
	if (check_wish(&o.ch))
		return CLI_USAGE;
	return set(o.socket, &o.ch);
}

static const struct arg_opt opts[] = {
	{ .name = "limit", .kind = ARG_SIZE, .at = AT(ch.limit), .value = "SIZE",
	  .help = "the most memory it can have, boot memory included" },
	{ .name = "target", .kind = ARG_TEXT, .at = AT(ch.target), .value = "SIZE|none",
	  .help = "what it shall come down to, or no target" },
	{ .name = "deadline", .kind = ARG_SPAN, .at = AT(ch.deadline), .value = "TIME",
	  .help = "time for the target, 10s unless given" },
	{ .name = "guarantee", .kind = ARG_SIZE, .at = AT(ch.guarantee), .value = "SIZE",
	  .help = "memory it never has to wait for" },
	{ .name = "wait", .kind = ARG_FLAG, .at = AT(ch.wait),
	  .help = "wait for the target; exit status 3 if it is not met" },
	ARG_OPT_JSON(AT(ch.json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_set = {
	.name = "set", .brief = "change limit, target or guarantee of a VM",
	.synopsis = "NAME [--limit SIZE] [--target SIZE|none [--deadline TIME] [--wait]] [--guarantee SIZE] [--json]",
	.about = "Change a VM while it runs. A limit is enforced; a target is a request: the guest\ngives back what its programs do not hold, and says how far it came.",
	.examples = "  memlease set web1 --target 1G --deadline 20s --wait\n  memlease set web1 --target none\n  memlease set web1 --limit 6G --guarantee 1G\n",
	ARG_OPTS(opts), .words = ARG_WORDS_VM(AT(ch.name), 1), .run = run,
};
