// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease events: what happens, as it happens, a line each.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "units.h"
#include "verb.h"
#include "when.h"

struct follow {
	const char *vm;		/* or NULL */
	bool json;
	int64_t count;		/* stop after so many; -1: never */
	int64_t timeout_ms;	/* stop after so long; -1: never */
};

/* Does key end so? Then *len is its length without the end. */
static bool has_unit(const char *key, const char *unit, int *len)
{
	size_t all = strlen(key), end = strlen(unit);

	if (all <= end || strcmp(key + all - end, unit))
		return false;
	*len = (int)(all - end);
	return true;
}

/* "  target: 1.00 GiB": the unit stands behind the number, not in the name. */
static void print_value(const char *key, const json_t *value)
{
	uint64_t number = json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	int len = (int)strlen(key);
	bool blocks = has_unit(key, "-blocks", &len), ms = has_unit(key, "-ms", &len);
	char text[SIZE_TEXT_MAX];

	printf("  %.*s: ", len, key);
	if (json_is_null(value))
		fputs("none", stdout);
	else if (json_is_string(value))
		fputs(json_string_value(value), stdout);
	else if (blocks)
		fputs(size_format_blocks(number, text), stdout);
	else if (ms)
		fputs(span_format(number > UINT64_MAX / 1000000 ? UINT64_MAX : number * 1000000, text), stdout);
	else
		json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void print_line(const json_t *event, const json_t *data)
{
	const json_t *stamp = json_object_get(event, "timestamp");
	int64_t ms = json_integer_value(json_object_get(stamp, "seconds")) * 1000 +
		     json_integer_value(json_object_get(stamp, "microseconds")) / 1000;
	const char *vm = json_string_value(json_object_get(data, "name"));
	char when[WHEN_TEXT_MAX];
	const char *key;
	json_t *value;

	printf("%s  %-13s %s", when_format_ms(ms, when),
	       cli_text(event, "event"), vm ? vm : "");
	json_object_foreach((json_t *)data, key, value)
		if (strcmp(key, "name"))
			print_value(key, value);
	putchar('\n');
}

/* Prints the event if it is asked for. */
static bool show(const struct follow *f, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	const char *vm = json_string_value(json_object_get(data, "name"));

	if (f->vm && (!vm || strcmp(vm, f->vm)))
		return false;
	if (f->json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_line(event, data);
	}
	return !cli_flush() && !ferror(stdout);
}

static int follow(struct qmp *c, struct follow *f)
{
	int64_t end = ml_wall_ms(&ml_clock_real) + f->timeout_ms;

	while (f->count) {
		auto_json json_t *event = NULL;
		int64_t left = f->timeout_ms < 0 ? -1 : end - ml_wall_ms(&ml_clock_real);
		int err;

		if (f->timeout_ms >= 0 && left <= 0)
			return CLI_OK;
		err = qmp_event(c, left < 0 ? -1 : left > 60000 ? 60000 : (int)left, &event);
		if (err == -EAGAIN)
			continue;
		if (err) {
			cli_error("events: %s; the daemon may have been restarted, start this again",
				  qmp_error(c));
			return CLI_FAILED;
		}
		if (show(f, event) && f->count > 0)
			f->count--;
		if (ferror(stdout))
			return CLI_FAILED;
	}
	return CLI_OK;
}

struct options {
	struct follow f;
	struct arg_number count, timeout;
	const char *socket;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { .f = { .count = -1, .timeout_ms = -1 } };
	int answer = args_parse(&verb_events, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;

	if (answer)
		return args_exit(answer);
	if (o.count.given)
		o.f.count = o.count.value;
	if (o.timeout.given)
		o.f.timeout_ms = o.timeout.value;
	c = cli_connect(o.socket);
	return c ? follow(c, &o.f) : CLI_FAILED;
}

static const struct arg_opt opts[] = {
	{ .name = "vm", .kind = ARG_TEXT, .at = AT(f.vm), .value = "NAME",
	  .listed_by = "list --names", .help = "only those of this VM" },
	{ .name = "count", .kind = ARG_INT, .at = AT(count), .value = "N", .min = 1,
	  .max = INT32_MAX, .help = "stop after N events" },
	{ .name = "timeout", .kind = ARG_SPAN, .at = AT(timeout), .value = "TIME",
	  .help = "stop after this time, such as 10s" },
	{ .name = "json", .kind = ARG_FLAG, .at = AT(f.json),
	  .help = "print JSON, a line per event" },
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_events = {
	.name = "events", .brief = "follow what happens",
	.synopsis = "[--vm NAME] [--count N] [--timeout TIME] [--json]",
	.about = "Follow what happens: VMs that start and end, targets, a pool that runs short.\nPrints a line per event until interrupted.",
	ARG_OPTS(opts), .run = run,
};
