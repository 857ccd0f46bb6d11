// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease compact: have blocks of VMs moved together, so that whole GiBs of the
 * pool are free.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "args.h"
#include "ask.h"
#include "exit.h"
#include "units.h"
#include "verb.h"
#include "view.h"

#define POLL_US 200000
#define SETTLE_POLLS 5		/* looks without a move after which it is over */
#define POLLS_MAX 3000
#define GIB_MAX 1048576

static int wait_done(struct qmp *c, struct pool_view *pool, json_t **json)
{
	uint64_t last = UINT64_MAX;

	for (int i = 0, still = 0; i < POLLS_MAX && still < SETTLE_POLLS; i++, still++) {
		json_decref(*json);
		*json = cli_call(c, "query-pool", NULL);
		if (!*json)
			return -1;
		pool_view(*json, pool);
		if (pool->compacting || pool->moved_blocks != last)
			still = 0;
		last = pool->moved_blocks;
		usleep(POLL_US);
	}
	return 0;
}

static int compact(struct qmp *c, int gib, bool json)
{
	auto_json json_t *before = cli_call(c, "query-pool", NULL);
	auto_json json_t *after = NULL, *done = NULL;
	struct pool_view was, is;
	char moved[SIZE_TEXT_MAX];

	if (!before)
		return CLI_FAILED;
	pool_view(before, &was);
	done = cli_call(c, "pool-compact", json_pack("{s:i}", "gib", gib));
	if (!done || wait_done(c, &is, &after))
		return CLI_FAILED;
	if (json)
		return cli_print_json(after);
	printf("%" PRIu64 " GiB emptied by moving %s; %" PRIu64 " GiB of the pool are wholly free now.\n",
	       is.emptied_gib - was.emptied_gib,
	       size_format_blocks(is.moved_blocks - was.moved_blocks, moved), is.whole_gib);
	return CLI_OK;
}

struct options {
	struct arg_number gib;
	const char *socket;
	bool json;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { .gib = { false, 1 } };
	int answer = args_parse(&verb_compact, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;

	if (answer)
		return args_exit(answer);
	c = cli_connect(o.socket);
	return c ? compact(c, (int)o.gib.value, o.json) : CLI_FAILED;
}

static const struct arg_opt opts[] = {
	{ .name = "gib", .kind = ARG_INT, .at = AT(gib), .value = "N", .min = 1, .max = GIB_MAX,
	  .help = "so many GiB, 1 unless given" },
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_compact = {
	.name = "compact", .brief = "empty whole GiBs of a reserved pool",
	.synopsis = "[--gib N] [--json]",
	.about = "Move blocks of running VMs together until so many more GiB of the pool are wholly\nfree, as far as that can be, and say what came of it. VMs go on; who touches a block\nthat is being moved waits for less than a millisecond. Only for a reserved pool.",
	ARG_OPTS(opts), .run = run,
};
