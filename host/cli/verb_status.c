// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease status: the pool, or one VM, in words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "silence.h"
#include "units.h"
#include "verb.h"
#include "view.h"
#include "when.h"

static void line(const char *label, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *label, const char *fmt, ...)
{
	va_list ap;

	printf("  %-12s ", label);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* A pool of memory that the host's kernel does not manage. */
static void print_source(const struct pool_view *p)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX], d[SIZE_TEXT_MAX];

	line("clean", "%s, and %s in the module's supply; %s dirty, %s being zeroed",
	     size_format_blocks(p->clean_blocks, a), size_format_blocks(p->supply_blocks, b),
	     size_format_blocks(p->dirty_blocks, c), size_format_blocks(p->zeroing_blocks, d));
	if (p->zero_engine[0])
		line("zeroing", "%s/s now, %s so far, %s behind (%s)",
		     size_format(p->zero_bytes_per_s, a), size_format_blocks(p->zeroed_blocks, b),
		     size_format_blocks(p->zero_backlog_blocks, c), p->zero_engine);
	line("supply", p->supply_waits ? "found empty by %" PRIu64 " touches, which waited %s in all" :
	     "never found empty", p->supply_waits, span_format(p->supply_wait_ns, a));
	line("whole", "%" PRIu64 " GiB wholly free; %" PRIu64 " emptied by moving %s%s", p->whole_gib,
	     p->emptied_gib, size_format_blocks(p->moved_blocks, a),
	     p->compacting ? ", and more under way" : "");
}

static void print_ranges(const struct pool_view *p)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], node[32];

	for (size_t i = 0; i < json_array_size(p->ranges); i++) {
		struct range_view r;

		range_view(json_array_get(p->ranges, i), &r);
		node[0] = '\0';
		if (r.node >= 0)
			snprintf(node, sizeof(node), ", node %d", (int)r.node);
		line(i ? "" : "ranges", "0x%" PRIx64 ", %s%s, tier %" PRIu64 ": %s lent", r.base,
		     size_format(r.bytes, a), node, r.tier, size_format_blocks(r.lent_blocks, b));
	}
}

static void print_pool_use(const struct pool_view *p)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];

	line("lent", "%s (%u %%), free %s", size_format_blocks(p->lent_blocks, a),
	     view_percent(p->lent_blocks, p->pool_blocks), size_format_blocks(p->free_blocks, b));
	if (json_array_size(p->ranges))
		print_source(p);
	else
		line("file system", "%s resident by its own count%s",
		     size_format_blocks(p->fs_resident_blocks, a),
		     p->fs_resident_blocks > p->lent_blocks ? ": more than lent" : "");
	if (p->retired_blocks)
		line("retired", "%s after memory errors", size_format_blocks(p->retired_blocks, a));
	if (p->orphans)
		line("orphaned", "%s of %" PRIu64 " VM%s without a record; they come back when its QEMU ends",
		     size_format_blocks(p->orphaned_blocks, a), p->orphans, p->orphans == 1 ? "" : "s");
	line("sold", "%s of limits to %" PRIu64 " VM%s: %u %% of the pool",
	     size_format_blocks(p->limit_blocks, a), p->vms, p->vms == 1 ? "" : "s",
	     view_percent(p->limit_blocks, p->pool_blocks));
	line("committed", "%s%s", size_format_blocks(p->committed_blocks, a),
	     p->committed_blocks > p->pool_blocks ? ", more than the pool holds" : "");
	line("guaranteed", "%s", size_format_blocks(p->guarantee_blocks, a));
}

/* What somebody has to see to, each with when it came up. */
static void print_notices(const struct pool_view *p)
{
	for (size_t i = 0; i < json_array_size(p->notices); i++) {
		const json_t *notice = json_array_get(p->notices, i);
		char when[WHEN_TEXT_MAX];

		line("attention", "%s: %s %s%s%s",
		     when_format_ms(json_integer_value(json_object_get(notice, "time")), when),
		     cli_text(notice, "event"), cli_text(notice, "name"),
		     cli_text(notice, "name")[0] ? ": " : "", cli_text(notice, "reason"));
	}
}

static void print_pool(const struct pool_view *p)
{
	char size[SIZE_TEXT_MAX];

	printf("Pool of %s in blocks of 2 MiB (%s)\n", size_format_blocks(p->pool_blocks, size), p->backend);
	print_pool_use(p);
	if (p->overbook_percent)
		line("overbooking", "at most %" PRIu64 " %% of the pool may be committed", p->overbook_percent);
	line("waiting", !p->waiting_touches ? "no touch" : pool_zeroing_late(p) ?
	     "%" PRIu64 " touches: all free blocks are still to be zeroed; give --zero-threads or --zero-rate more" :
	     "%" PRIu64 " touches: the pool is empty, VMs stand still until others give memory back",
	     p->waiting_touches);
	if (p->ledger_behind)
		line("ledger", "%s cannot be written: %s; usage is kept and posted later",
		     p->ledger, p->ledger_error);
	else
		line("ledger", "%s, up to date", p->ledger);
	print_ranges(p);
	line("files", "%s, state in %s", p->pool_dir, p->state_dir);
	print_notices(p);
}

/* silence: why the guest does not answer, or "". */
static void print_target(const struct vm_view *vm, const char *silence)
{
	char size[SIZE_TEXT_MAX], span[SIZE_TEXT_MAX];
	const char *how = "the guest is shrinking";

	if (!vm->has_target) {
		line("target", "none: it may grow to its limit");
		return;
	}
	if (!strcmp(vm->target_state, "met"))
		how = "met";
	else if (!strcmp(vm->target_state, "partly"))
		how = "met in part: the rest is in use";
	else if (silence[0])
		how = silence;
	line("target", "%s within %s: %s", size_format_blocks(vm->target_blocks, size),
	     span_format(vm->target_deadline_ms * 1000000, span), how);
}

static void print_memory(const struct vm_view *vm)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX];

	line("resident", "%s, %s of it boot memory; at most %s so far",
	     size_format_blocks(vm->resident_blocks, a), size_format_blocks(vm->boot_resident_blocks, b),
	     size_format_blocks(vm->peak_resident_blocks, c));
	if (vm->lapsed)
		line("committed", "nothing: it never started");
	else
		line("committed", "%s: boot memory of %s, and %s of the window of %s",
		     size_format_blocks(vm->committed_blocks, a), size_format_blocks(vm->boot_blocks, b),
		     size_format_blocks(vm->committed_blocks > vm->boot_blocks ?
					vm->committed_blocks - vm->boot_blocks : 0, c),
		     size_format_blocks(vm->window_blocks, (char[SIZE_TEXT_MAX]){ 0 }));
	line("limit", "%s, guarantee %s, weight %" PRIu64, size_format_blocks(vm->limit_blocks, a),
	     size_format_blocks(vm->guarantee_blocks, b), vm->weight);
}

/* Of a VM that has had no QEMU: what it holds until one comes. */
static void print_start(const struct vm_view *vm)
{
	char boot[SIZE_TEXT_MAX], guarantee[SIZE_TEXT_MAX], when[WHEN_TEXT_MAX];

	if (strcmp(vm->state, "defined"))
		return;
	size_format_blocks(vm->boot_blocks, boot);
	size_format_blocks(vm->guarantee_blocks, guarantee);
	if (vm->lapsed)
		line("start", "no QEMU came in time, so it holds nothing and is not billed; its QEMU is let in if there is room for boot memory of %s and a guarantee of %s then",
		     boot, guarantee);
	else if (vm->lapses_ms)
		line("start", "until %s boot memory and guarantee are held for its QEMU, and billed; nothing after that",
		     when_format_minute(vm->lapses_ms, when));
	else
		line("start", "boot memory and guarantee are held for its QEMU, and billed");
	if (vm->refused[0])
		line("refused", "%s", vm->refused);
}

static void print_touches(const struct vm_view *vm)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];

	line("touches", "%" PRIu64 " first touches; %s reported free", vm->touches,
	     size_format_blocks(vm->reported_blocks, a));
	if (vm->waiting_touches)
		line("waiting", "%" PRIu64 " touch%s now: the VM stands still until there is memory for what it touched; 'memlease status' says why there is none",
		     vm->waiting_touches, vm->waiting_touches == 1 ? "" : "es");
	if (vm->waited_touches)
		line("waited", "%" PRIu64 " touch%s, %s in all, %s the longest", vm->waited_touches,
		     vm->waited_touches == 1 ? "" : "es", span_format(vm->wait_ns, a),
		     span_format(vm->longest_wait_ns, b));
}

/* Why free memory of a guest does not come back by itself, and what to do. */
static const char *not_reported(const char *why)
{
	if (!strcmp(why, "another-driver"))
		return "off: another driver of the guest reports free memory, probably a balloon's; what the guest frees stays backed, and billed. Unload virtio_balloon there, or take free-page-reporting off its device";
	if (!strcmp(why, "page-poisoning"))
		return "off: the guest runs with page_poison=1; what it frees stays backed, and billed";
	return "off: the guest's kernel cannot report free memory; what it frees stays backed, and billed";
}

static void print_guest(const struct vm_view *vm, int64_t now_ms, const char *silence)
{
	const struct guest_view *g = &vm->guest;
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX], d[SIZE_TEXT_MAX], span[SIZE_TEXT_MAX];

	if (silence[0])
		line("no answer", "%s", silence);
	if (!g->known)
		return;
	line("guest", "%s of %s free, %s available, %s of page cache (%s ago)",
	     size_format(g->free_bytes, a), size_format(g->total_bytes, b),
	     size_format(g->available_bytes, c), size_format(g->cache_bytes, d),
	     span_format(now_ms > g->time_ms ? (uint64_t)(now_ms - g->time_ms) * 1000000 : 0, span));
	if (g->kernel_blocks)
		line("kernel", "%s of the window for its kernel's own use", size_format_blocks(g->kernel_blocks, a));
	if (g->reporting && strcmp(g->reporting, "on"))
		line("reporting", "%s", not_reported(g->reporting));
	if (g->oom_rescues)
		line("rescues", "%" PRIu64 " out-of-memory events answered by borrowing", g->oom_rescues);
}

static void print_vm(const struct vm_view *vm)
{
	int64_t now_ms = ml_wall_ms(&ml_clock_real);
	char when[WHEN_TEXT_MAX], silence[VIEW_TEXT_MAX];

	vm_silence(vm, now_ms, silence);
	printf("%s, tenant %s, plan %s: ", vm->name, vm->tenant, vm->plan);
	if (!strcmp(vm->state, "running"))
		printf("running, QEMU is process %" PRIu64 "\n", vm->pid);
	else if (!strcmp(vm->state, "detached"))
		printf("QEMU is process %" PRIu64 ", its connection is down; memory and meter go on\n", vm->pid);
	else if (!strcmp(vm->state, "defined"))
		printf("never started, waiting for its QEMU since %s\n", when_format_minute(vm->created_ms, when));
	else
		printf("%s\n", vm->state);
	if (vm->broken[0])
		line("BROKEN", "%s; it keeps its memory, and borrows and reports none until it is reset", vm->broken);
	print_memory(vm);
	print_start(vm);
	print_target(vm, silence);
	print_touches(vm);
	print_guest(vm, now_ms, silence);
	line("since", "%s, uuid %s", when_format_minute(vm->created_ms, when), vm->uuid);
	line("sockets", "%s\n  %-12s %s", vm->vhost_socket, "", vm->qmp_socket);
	line("files", "%s\n  %-12s %s", vm->boot_path, "", vm->window_path);
}

struct options {
	const char *socket, *name;
	bool json;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_status, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *state = NULL;
	struct pool_view pool;
	struct vm_view vm;

	if (answer)
		return args_exit(answer);
	c = cli_connect(o.socket);
	if (!c)
		return CLI_FAILED;
	state = o.name ? cli_call(c, "query-vm", cli_name_args(o.name))
		       : cli_call(c, "query-pool", NULL);
	if (!state)
		return CLI_FAILED;
	if (o.json)
		return cli_print_json(state);
	if (o.name) {
		vm_view(state, &vm);
		print_vm(&vm);
	} else {
		pool_view(state, &pool);
		print_pool(&pool);
	}
	return CLI_OK;
}

static const struct arg_opt opts[] = {
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_status = {
	.name = "status", .brief = "the pool, or one VM, in words",
	.synopsis = "[NAME] [--json]",
	.about = "Tell in words how the pool is, or one VM.",
	ARG_OPTS(opts), .words = ARG_WORDS_VM(AT(name), 0), .run = run,
};
