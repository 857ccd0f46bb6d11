// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about the daemon and its pool, and the table of all commands. Called
 * by client.c with arguments that passed the schema.
 */
#include <errno.h>
#include <string.h>

#include "server.h"
#include "version.h"

int cmd_query_version(struct ctl_call *call)
{
	call->result = json_pack("{s:s, s:i}", "version", ML_VERSION, "abi", MEMLEASE_ABI_VERSION);
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_schema(struct ctl_call *call)
{
	call->result = json_incref(ctl_schema_json(call->server->schema));
	return 0;
}

int cmd_query_commands(struct ctl_call *call)
{
	call->result = ctl_schema_commands(call->server->schema);
	return call->result ? 0 : -ENOMEM;
}

static void set(json_t *to, const char *key, uint64_t value)
{
	json_object_set_new(to, key, json_integer(value > INT64_MAX ? INT64_MAX :
						  (json_int_t)value));
}

static json_t *ranges_json(const struct lender *lender, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++) {
		struct pool_range_status range;
		json_t *one = json_object();

		lender_range(lender, i, &range);
		set(one, "base", range.base);
		set(one, "bytes", range.bytes);
		json_object_set_new(one, "node", range.node < 0 ? json_null() :
				    json_integer(range.node));
		set(one, "tier", range.tier);
		set(one, "lent-blocks", range.lent_blocks);
		set(one, "free-blocks", range.free_blocks);
		set(one, "retired-blocks", range.retired_blocks);
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *zeroing_json(const struct pool_status *pool)
{
	json_t *zeroing = json_object();

	if (pool->zero_engine)
		json_object_set_new(zeroing, "engine", json_string(pool->zero_engine));
	set(zeroing, "zeroed-blocks", pool->zeroed_blocks);
	set(zeroing, "backlog-blocks", pool->zero_backlog_blocks);
	set(zeroing, "bytes-per-second", pool->zero_bytes_per_s);
	set(zeroing, "bound-bytes-per-second", pool->zero_bound_bytes_per_s);
	return zeroing;
}

/* What free blocks are, and who makes them fit to be lent. */
static void add_source(json_t *to, const struct lender *lender, const struct pool_status *pool)
{
	json_t *compaction = json_object();

	set(to, "clean-blocks", pool->clean_blocks);
	set(to, "dirty-blocks", pool->dirty_blocks);
	set(to, "zeroing-blocks", pool->zeroing_blocks);
	set(to, "supply-blocks", pool->supply_blocks);
	set(to, "supply-want-blocks", pool->supply_want_blocks);
	set(to, "supply-waits", pool->supply_waits);
	set(to, "supply-wait-ns", pool->supply_wait_ns);
	set(to, "source-metadata-bytes", pool->source_metadata_bytes);
	json_object_set_new(to, "zeroing", zeroing_json(pool));
	json_object_set_new(compaction, "running", json_boolean(pool->compacting));
	set(compaction, "whole-gib", pool->whole_gib);
	set(compaction, "moved-blocks", pool->compact_moved_blocks);
	set(compaction, "emptied-gib", pool->compact_emptied_gib);
	json_object_set_new(to, "compaction", compaction);
	json_object_set_new(to, "ranges", ranges_json(lender, pool->ranges));
}

int cmd_pool_compact(struct ctl_call *call)
{
	json_int_t gib = ctl_arg_int(call, "gib", 1);
	char why[CTL_DESC_MAX - 64] = "";

	if (gib < 1 || gib > UINT32_MAX)
		return ctl_fail(call, "InvalidArgument",
				"pool-compact: 'gib' is %lld, but must be at least 1", (long long)gib);
	if (lender_compact(call->server->config.lender, (uint32_t)gib, why, sizeof(why)))
		return ctl_fail(call, "GenericError", "pool-compact: %s", why);
	return 0;
}

int cmd_query_pool(struct ctl_call *call)
{
	const struct ctl_config *config = &call->server->config;
	struct pool_status pool;

	lender_status(config->lender, &pool);
	call->result = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:s, s:s}",
		"backend", pool.backend,
		"block-bytes", (json_int_t)MEMLEASE_BLOCK_BYTES,
		"pool-blocks", (json_int_t)pool.pool_blocks,
		"free-blocks", (json_int_t)pool.free_blocks,
		"lent-blocks", (json_int_t)pool.lent_blocks,
		"retired-blocks", (json_int_t)pool.retired_blocks,
		"fs-resident-blocks", (json_int_t)pool.fs_resident_blocks,
		"committed-blocks", (json_int_t)pool.committed_blocks,
		"limit-blocks", (json_int_t)pool.limit_blocks,
		"guarantee-blocks", (json_int_t)pool.guarantee_blocks,
		"waiting-touches", (json_int_t)pool.waiting,
		"overbook-percent", (json_int_t)pool.overbook_percent,
		"vms", (json_int_t)pool.vms,
		"ledger-behind", (int)pool.ledger_behind,
		"ledger-error", pool.ledger_error,
		"state-dir", config->state_dir,
		"pool-dir", config->pool_dir,
		"ledger", config->ledger_path);
	if (!call->result)
		return -ENOMEM;
	add_source(call->result, config->lender, &pool);
	return 0;
}

static const struct {
	const char *name;
	ctl_handler handler;
} commands[] = {
	{ "query-version", cmd_query_version },
	{ "query-schema", cmd_query_schema },
	{ "query-commands", cmd_query_commands },
	{ "query-pool", cmd_query_pool },
	{ "pool-compact", cmd_pool_compact },
	{ "query-vms", cmd_query_vms },
	{ "query-vm", cmd_query_vm },
	{ "vm-create", cmd_vm_create },
	{ "vm-delete", cmd_vm_delete },
	{ "vm-set", cmd_vm_set },
	{ "vm-report-now", cmd_vm_report_now },
	{ "vm-kill", cmd_vm_kill },
	{ "query-plans", cmd_query_plans },
	{ "query-bill", cmd_query_bill },
};

ctl_handler ctl_find_handler(const char *command)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, command))
			return commands[i].handler;
	}
	return NULL;
}
