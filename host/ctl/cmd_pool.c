// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about the pool. Called by commands.c with arguments that passed the schema.
 */
#include "cmd_pool.h"

#include <errno.h>

#include "json_number.h"

static json_t *ranges_json(const struct lender *lender, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++) {
		struct pool_range_status range;
		json_t *one = json_object();

		lender_range(lender, i, &range);
		json_set_count(one, "base", range.base);
		json_set_count(one, "bytes", range.bytes);
		json_object_set_new(one, "node", range.node < 0 ? json_null() :
				    json_integer(range.node));
		json_set_count(one, "tier", range.tier);
		json_set_count(one, "lent-blocks", range.lent_blocks);
		json_set_count(one, "free-blocks", range.free_blocks);
		json_set_count(one, "retired-blocks", range.retired_blocks);
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *zeroing_json(const struct pool_status *pool)
{
	json_t *zeroing = json_object();

	if (pool->zero_engine)
		json_object_set_new(zeroing, "engine", json_string(pool->zero_engine));
	json_set_count(zeroing, "zeroed-blocks", pool->zeroed_blocks);
	json_set_count(zeroing, "backlog-blocks", pool->zero_backlog_blocks);
	json_set_count(zeroing, "bytes-per-second", pool->zero_bytes_per_s);
	json_set_count(zeroing, "bound-bytes-per-second", pool->zero_bound_bytes_per_s);
	return zeroing;
}

/* What free blocks are, and who makes them fit to be lent. */
static void add_source(json_t *to, const struct lender *lender, const struct pool_status *pool)
{
	json_t *compaction = json_object();

	json_set_count(to, "clean-blocks", pool->clean_blocks);
	json_set_count(to, "dirty-blocks", pool->dirty_blocks);
	json_set_count(to, "zeroing-blocks", pool->zeroing_blocks);
	json_set_count(to, "supply-blocks", pool->supply_blocks);
	json_set_count(to, "supply-want-blocks", pool->supply_want_blocks);
	json_set_count(to, "supply-waits", pool->supply_waits);
	json_set_count(to, "supply-wait-ns", pool->supply_wait_ns);
	json_set_count(to, "source-metadata-bytes", pool->source_metadata_bytes);
	json_object_set_new(to, "zeroing", zeroing_json(pool));
	json_object_set_new(compaction, "running", json_boolean(pool->compacting));
	json_set_count(compaction, "whole-gib", pool->whole_gib);
	json_set_count(compaction, "moved-blocks", pool->compact_moved_blocks);
	json_set_count(compaction, "emptied-gib", pool->compact_emptied_gib);
	json_object_set_new(to, "compaction", compaction);
	json_object_set_new(to, "ranges", ranges_json(lender, pool->ranges));
}

static json_t *notices_json(const struct ctl_notices *notices)
{
	json_t *list = json_array();

	for (size_t i = 0; notices && i < notices->count; i++) {
		const struct ctl_notice *n = &notices->at[i];
		json_t *one = json_object();

		json_object_set_new(one, "event", json_string(n->event));
		json_object_set_new(one, "name", json_string(n->subject));
		json_object_set_new(one, "reason", json_string(n->reason));
		json_object_set_new(one, "time", json_integer((json_int_t)n->wall_ms));
		json_array_append_new(list, one);
	}
	return list;
}

int cmd_pool_compact(struct ctl_call *call)
{
	json_int_t gib = ctl_arg_int(call, "gib", 1);
	struct ml_why why = { "" };

	if (gib < 1 || gib > UINT32_MAX)
		return ctl_fail(call, "InvalidArgument",
				"pool-compact: 'gib' is %lld, but must be at least 1", (long long)gib);
	if (lender_compact(call->config->lender, (uint32_t)gib, &why))
		return ctl_fail(call, "GenericError", "pool-compact: %s", why.text);
	return 0;
}

int cmd_query_pool(struct ctl_call *call)
{
	const struct ctl_config *config = call->config;
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
	json_set_count(call->result, "orphaned-blocks", pool.orphaned_blocks);
	json_set_count(call->result, "orphans", pool.orphans);
	json_object_set_new(call->result, "notices", notices_json(config->notices));
	add_source(call->result, config->lender, &pool);
	return 0;
}
