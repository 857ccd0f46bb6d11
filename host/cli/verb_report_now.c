// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease report-now: ask a guest for its free blocks at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "silence.h"
#include "units.h"
#include "verb.h"
#include "view.h"

#define POLL_US 100000
#define SETTLE_POLLS 10		/* polls without change after which it is over */
#define POLLS_MAX 100

/* Wait until residency stops falling; 0 or -1. */
static int wait_settled(struct qmp *c, const char *name, struct vm_view *vm, json_t **json)
{
	uint64_t last = UINT64_MAX;

	for (int i = 0, still = 0; i < POLLS_MAX && still < SETTLE_POLLS; i++, still++) {
		json_decref(*json);
		*json = cli_call(c, "query-vm", cli_name_args(name));
		if (!*json)
			return -1;
		vm_view(*json, vm);
		if (vm->reported_blocks != last)
			still = 0;
		last = vm->reported_blocks;
		usleep(POLL_US);
	}
	return 0;
}

static int report(struct qmp *c, const char *name, bool json)
{
	auto_json json_t *before = cli_call(c, "query-vm", cli_name_args(name));
	auto_json json_t *after = NULL, *done = NULL;
	char given[SIZE_TEXT_MAX], left[SIZE_TEXT_MAX], silence[VIEW_TEXT_MAX];
	struct vm_view was, is;

	if (!before)
		return CLI_FAILED;
	vm_view(before, &was);
	done = cli_call(c, "vm-report-now", cli_name_args(name));
	if (!done || wait_settled(c, name, &is, &after))
		return CLI_FAILED;
	if (json)
		return cli_print_json(after);
	if (is.reported_blocks == was.reported_blocks && vm_silence(&is, ml_wall_ms(&ml_clock_real), silence)[0]) {
		cli_error("report-now: no answer from %s: %s; resident is %s", name, silence,
			  size_format_blocks(is.resident_blocks, left));
		return CLI_PARTLY;
	}
	printf("%s reported %s; resident now %s.\n", name,
	       size_format_blocks(is.reported_blocks - was.reported_blocks, given),
	       size_format_blocks(is.resident_blocks, left));
	return CLI_OK;
}

struct options {
	const char *socket, *name;
	bool json;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_report_now, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;

	if (answer)
		return args_exit(answer);
	c = cli_connect(o.socket);
	return c ? report(c, o.name, o.json) : CLI_FAILED;
}

static const struct arg_opt opts[] = {
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_report_now = {
	.name = "report-now", .brief = "ask a guest for its free memory at once",
	.synopsis = "NAME [--json]",
	.about = "Ask the guest of a VM to report its free memory at once, and say what came.\nGuests report by themselves within seconds; this is for those in a hurry.",
	ARG_OPTS(opts), .words = ARG_WORDS_VM(AT(name), 1), .run = run,
};
