// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What `memlease top` shows. Called by verb_top.c with the daemon's answers;
 * touches neither terminal nor socket, so that tests can look at frames.
 */
#include "top_frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/memlease_abi.h"
#include "../base/cleanup.h"
#include "grid.h"
#include "units.h"
#include "view.h"
#include "when.h"

#define BAR_MAX 64
#define VM_BAR_WIDTH 14

struct top_row {
	struct vm_view vm;
	int64_t change_blocks;	/* resident, per second */
	uint64_t touches;	/* per second */
};

const char *const top_sort_names[TOP_SORTS + 1] = {
	[TOP_BY_RESIDENT] = "resident", [TOP_BY_COMMITTED] = "committed", [TOP_BY_LIMIT] = "limit",
	[TOP_BY_TOUCHES] = "touches", [TOP_BY_WAITS] = "waits", [TOP_BY_NAME] = "name",
};

static const struct grid_column columns[] = {
	{ "NAME", 0, 0 }, { "TENANT", 0, 2 }, { "RESIDENT", 1, 0 }, { "CHANGE/s", 1, 4 }, { "COMMITTED", 1, 0 },
	{ "LIMIT", 1, 5 }, { "TOUCH/s", 1, 1 }, { "OF LIMIT", 0, 3 }, { "", 0, 0 },
};

/* The number by which a row is sorted, larger first. */
static uint64_t rank(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_RESIDENT:
		return row->vm.resident_blocks;
	case TOP_BY_COMMITTED:
		return row->vm.committed_blocks;
	case TOP_BY_LIMIT:
		return row->vm.limit_blocks;
	case TOP_BY_TOUCHES:
		return row->touches;
	case TOP_BY_WAITS:
		return row->vm.wait_ns + row->vm.waiting_touches;
	case TOP_BY_NAME:
	case TOP_SORTS:
		break;
	}
	return 0;
}

static int compare(const void *a, const void *b, void *sort)
{
	uint64_t ra = rank(a, *(const enum top_sort *)sort), rb = rank(b, *(const enum top_sort *)sort);

	if (ra != rb)
		return ra > rb ? -1 : 1;
	return strcmp(((const struct top_row *)a)->vm.name, ((const struct top_row *)b)->vm.name);
}

/* VMs of the former snapshot by name, or NULL. */
static json_t *index_by_name(const struct top_snapshot *snapshot)
{
	json_t *index, *vm;
	size_t i;

	if (!snapshot || !(index = json_object()))
		return NULL;
	json_array_foreach(snapshot->vms, i, vm) {
		const char *name = json_string_value(json_object_get(vm, "name"));

		if (name)
			json_object_set(index, name, vm);
	}
	return index;
}

static void set_rates(struct top_row *row, const json_t *before_json, uint64_t elapsed_ns)
{
	struct vm_view before;

	if (!before_json || !elapsed_ns)
		return;
	vm_view(before_json, &before);
	if (strcmp(before.uuid, row->vm.uuid))
		return;
	row->change_blocks = ((int64_t)row->vm.resident_blocks - (int64_t)before.resident_blocks) *
			     1000 / (int64_t)(elapsed_ns / 1000000 + 1);
	if (row->vm.touches > before.touches)
		row->touches = (row->vm.touches - before.touches) * 1000 / (elapsed_ns / 1000000 + 1);
}

static struct top_row *make_rows(const struct top_snapshot *now, const struct top_snapshot *before,
				 enum top_sort sort, size_t *count)
{
	json_t *index = index_by_name(before), *json;
	struct top_row *rows = calloc(json_array_size(now->vms) + 1, sizeof(*rows));
	size_t i;

	*count = json_array_size(now->vms);
	json_array_foreach(now->vms, i, json) {
		if (!rows)
			break;
		vm_view(json, &rows[i].vm);
		set_rates(&rows[i], json_object_get(index, rows[i].vm.name),
			  before ? now->boot_ns - before->boot_ns : 0);
	}
	if (rows)
		qsort_r(rows, *count, sizeof(*rows), compare, &sort);
	json_decref(index);
	return rows;
}

/* width cells: resident, then the rest of committed, then the rest of whole. */
static const char *bar(uint64_t resident, uint64_t committed, uint64_t whole, size_t width,
		       bool utf8, char text[BAR_MAX * 3 + 1])
{
	const char *marks[3] = { "#", "+", "." };
	size_t full, part;
	char *p = text;

	if (utf8)
		marks[0] = "█", marks[1] = "▒", marks[2] = "·";
	if (!whole)
		whole = 1;
	full = (size_t)((unsigned __int128)(resident < whole ? resident : whole) * width / whole);
	part = (size_t)((unsigned __int128)(committed < whole ? committed : whole) * width / whole);
	for (size_t i = 0; i < width; i++)
		p = stpcpy(p, i < full ? marks[0] : i < part ? marks[1] : marks[2]);
	return text;
}

static void add_change(struct grid *t, int64_t blocks)
{
	char text[SIZE_TEXT_MAX + 2], size[SIZE_TEXT_MAX];

	if (!blocks) {
		grid_add(t, "");
		return;
	}
	snprintf(text, sizeof(text), "%c%s", blocks < 0 ? '-' : '+',
		 size_format_blocks((uint64_t)llabs(blocks), size));
	grid_add(t, text);
}

static void add_row(struct grid *t, const struct top_row *row, int64_t now_ms, bool utf8)
{
	char text[BAR_MAX * 3 + 1], size[SIZE_TEXT_MAX], remark[VIEW_TEXT_MAX];

	grid_add(t, row->vm.name);
	grid_add(t, row->vm.tenant);
	grid_add(t, size_format_blocks(row->vm.resident_blocks, size));
	add_change(t, row->change_blocks);
	grid_add(t, size_format_blocks(row->vm.committed_blocks, size));
	grid_add(t, size_format_blocks(row->vm.limit_blocks, size));
	snprintf(size, sizeof(size), "%" PRIu64, row->touches);
	grid_add(t, row->touches ? size : "");
	grid_add(t, bar(row->vm.resident_blocks, row->vm.committed_blocks, row->vm.limit_blocks,
			VM_BAR_WIDTH, utf8, text));
	grid_add(t, vm_remark(&row->vm, now_ms, remark));
}

/* A line cut at width; width 0: whole. */
__attribute__((format(printf, 3, 4)))
static void put_line(FILE *out, size_t width, const char *fmt, ...)
{
	ml_autofree char *text = NULL;
	size_t room = width ? width : SIZE_MAX;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return;
	}
	for (const char *p = text; *p; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80 && room-- == 0)
			break;
		fputc(*p, out);
	}
	fputc('\n', out);
}

static const char *size_of(const json_t *json, const char *key, uint64_t unit, char text[SIZE_TEXT_MAX])
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return size_format(value > 0 ? (uint64_t)value * unit : 0, text);
}

/* Print a line about zeroing, where the daemon zeroes. Returns the number of lines. */
static size_t put_zeroing(FILE *out, const json_t *pool, const struct top_look *look)
{
	const json_t *zeroing = json_object_get(pool, "zeroing");
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX], d[SIZE_TEXT_MAX], e[SIZE_TEXT_MAX];

	if (!json_is_string(json_object_get(zeroing, "engine")))
		return 0;
	/* "due": dirty blocks that are to be clean soon. */
	put_line(out, look->width, "Zeroing %s/s, clean %s, supply %s, dirty %s, due %s",
		 size_of(zeroing, "bytes-per-second", 1, a),
		 size_of(pool, "clean-blocks", MEMLEASE_BLOCK_BYTES, b),
		 size_of(pool, "supply-blocks", MEMLEASE_BLOCK_BYTES, c),
		 size_of(pool, "dirty-blocks", MEMLEASE_BLOCK_BYTES, d),
		 size_of(zeroing, "backlog-blocks", MEMLEASE_BLOCK_BYTES, e));
	return 1;
}

/* The pool's lines; returns how many. */
static size_t put_pool(FILE *out, const struct pool_view *p, const struct top_look *look)
{
	char text[BAR_MAX * 3 + 1], a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX];
	size_t lines = 2;

	put_line(out, look->width, "Pool %s  %s  lent %s (%u %%), free %s",
		 size_format_blocks(p->pool_blocks, a),
		 bar(p->lent_blocks, p->lent_blocks, p->pool_blocks, 24, look->utf8, text),
		 size_format_blocks(p->lent_blocks, b), view_percent(p->lent_blocks, p->pool_blocks),
		 size_format_blocks(p->free_blocks, c));
	put_line(out, look->width, "Sold %s in limits (%u %%), committed %s, guaranteed %s",
		 size_format_blocks(p->limit_blocks, a), view_percent(p->limit_blocks, p->pool_blocks),
		 size_format_blocks(p->committed_blocks, b), size_format_blocks(p->guarantee_blocks, c));
	if (p->waiting_touches) {
		put_line(out, look->width,
			 pool_zeroing_late(p) ? "ZEROING LATE: %" PRIu64 " touches wait for a clean block" :
			 "POOL EMPTY: %" PRIu64 " touches wait for memory", p->waiting_touches);
		lines++;
	}
	if (p->retired_blocks) {
		put_line(out, look->width, "RETIRED: %s after memory errors",
			 size_format_blocks(p->retired_blocks, a));
		lines++;
	}
	if (p->compacting) {
		put_line(out, look->width, "Compacting, %s moved so far, %" PRIu64 " GiB wholly free",
			 size_format_blocks(p->moved_blocks, a), p->whole_gib);
		lines++;
	}
	if (p->ledger_behind) {
		put_line(out, look->width, "LEDGER BEHIND: %s", p->ledger_error);
		lines++;
	}
	return lines;
}

static size_t put_head(FILE *out, const struct top_snapshot *now, size_t vms, const struct top_look *look)
{
	char when[WHEN_TEXT_MAX];
	struct pool_view pool;
	size_t lines = 2;

	pool_view(now->pool, &pool);
	when_format_ms(now->wall_ms, when);
	put_line(out, look->width, "memlease  %.8s  %zu VM%s by %s%s", when + strlen("2026-11-21 "), vms,
		 vms == 1 ? "" : "s", top_sort_names[look->sort],
		 look->keys ? "   q quit, sort: r c l t w n, j k scroll" : "");
	lines += put_pool(out, &pool, look);
	lines += put_zeroing(out, now->pool, look);
	fputc('\n', out);
	return lines;
}

int top_frame(FILE *out, const struct top_snapshot *now, const struct top_snapshot *before,
	      const struct top_look *look)
{
	auto_grid struct grid *t = grid_new(columns, sizeof(columns) / sizeof(columns[0]));
	size_t count, first, last;
	ml_autofree struct top_row *rows = make_rows(now, before, look->sort, &count);
	size_t used = put_head(out, now, count, look) + 1;

	if (!t || !rows)
		return -ENOMEM;
	first = look->skip < count ? look->skip : count;
	last = count;
	if (look->height && last - first > (look->height > used ? look->height - used : 0))
		last = first + (look->height > used ? look->height - used : 0);
	for (size_t i = first; i < last; i++)
		add_row(t, &rows[i], now->wall_ms, look->utf8);
	if (!count)
		put_line(out, look->width, "No VMs.");
	else if (grid_print(t, out, look->width))
		return -ENOMEM;
	return (int)count;
}
