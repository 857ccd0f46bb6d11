// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bill as a table and as CSV. Called by verb_bill.c.
 */
#include "bill_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "../base/block.h"
#include "../base/wide.h"
#include "grid.h"
#include "units.h"
#include "when.h"

#define GIB_HOURS_SCALE 10000	/* four decimals */
#define BLOCK_NS_DIGITS_MAX 34	/* times GIB_HOURS_SCALE still fits 128 bits */

/* The columns that some cuts lack. */
struct cut {
	bool vm, plan;
};

const char *gib_hours(const char *block_ns, char text[GIB_HOURS_TEXT_MAX])
{
	ml_u128 value = 0;
	size_t len = block_ns ? strlen(block_ns) : 0;

	if (!len || len > BLOCK_NS_DIGITS_MAX || strspn(block_ns, "0123456789") != len)
		return "?";
	for (; *block_ns; block_ns++)
		value = value * 10 + (unsigned int)(*block_ns - '0');
	value = (value * GIB_HOURS_SCALE + ML_BLOCK_NS_PER_GIB_HOUR / 2) / ML_BLOCK_NS_PER_GIB_HOUR;
	/* 34 digits over 1.8e15 times 10000: at most 23 digits, 19 of them whole. */
	snprintf(text, GIB_HOURS_TEXT_MAX, "%" PRIu64 ".%04u", (uint64_t)(value / GIB_HOURS_SCALE),
		 (unsigned int)(value % GIB_HOURS_SCALE));
	return text;
}

static const char *text_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

static int64_t int_of(const json_t *line, const char *key)
{
	return json_integer_value(json_object_get(line, key));
}

static void add_usage(struct grid *t, const json_t *usage)
{
	char text[GIB_HOURS_TEXT_MAX];
	const char *amount = json_string_value(json_object_get(usage, "amount"));

	grid_add(t, gib_hours(text_of(usage, "resident-block-ns"), text));
	grid_add(t, gib_hours(text_of(usage, "committed-block-ns"), text));
	grid_add(t, gib_hours(text_of(usage, "guarantee-block-ns"), text));
	grid_add(t, amount ? amount : "no price");
}

static void add_covered(struct grid *t, const json_t *usage)
{
	char span[SIZE_TEXT_MAX];
	int64_t ms = int_of(usage, "covered-ms");

	grid_add(t, span_format(ms > 0 ? (uint64_t)ms * 1000000 : 0, span));
}

static void add_line(struct grid *t, const struct cut *cut, const json_t *line)
{
	char when[WHEN_TEXT_MAX];

	grid_add(t, text_of(line, "tenant"));
	if (cut->vm)
		grid_add(t, text_of(line, "vm"));
	if (cut->plan)
		grid_add(t, text_of(line, "plan"));
	grid_add(t, when_format_minute(int_of(line, "start"), when));
	add_covered(t, line);
	add_usage(t, line);
}

static void add_total(struct grid *t, const struct cut *cut, const json_t *total)
{
	grid_rule(t);
	grid_add(t, "total");
	if (cut->vm)
		grid_add(t, "");
	if (cut->plan)
		grid_add(t, "");
	grid_add(t, "");
	add_covered(t, total);
	add_usage(t, total);
}

static size_t make_columns(const struct cut *cut, const char *amount,
			   struct grid_column columns[GRID_COLUMNS_MAX])
{
	size_t n = 0;

	columns[n++] = (struct grid_column){ "TENANT", 0, 0 };
	if (cut->vm)
		columns[n++] = (struct grid_column){ "VM", 0, 0 };
	if (cut->plan)
		columns[n++] = (struct grid_column){ "PLAN", 0, 2 };
	columns[n++] = (struct grid_column){ "FROM", 0, 3 };
	columns[n++] = (struct grid_column){ "COVERED", 1, 1 };
	columns[n++] = (struct grid_column){ "RESIDENT", 1, 6 };
	columns[n++] = (struct grid_column){ "COMMITTED", 1, 5 };
	columns[n++] = (struct grid_column){ "GUARANTEE", 1, 4 };
	columns[n++] = (struct grid_column){ amount, 1, 0 };
	return n;
}

int bill_print_table(const json_t *bill, FILE *out, size_t width)
{
	struct grid_column columns[GRID_COLUMNS_MAX];
	const json_t *lines = json_object_get(bill, "lines");
	bool tenants = !strcmp(text_of(bill, "by"), "tenant");
	const struct cut cut = { .vm = !tenants, .plan = !tenants };
	const char *currency = text_of(bill, "currency");
	auto_grid struct grid *t = NULL;
	json_t *line;
	size_t i;

	t = grid_new(columns, make_columns(&cut, currency, columns));
	if (!t)
		return -ENOMEM;
	json_array_foreach(lines, i, line)
		add_line(t, &cut, line);
	add_total(t, &cut, json_object_get(bill, "total"));
	if (grid_print(t, out, width))
		return -ENOMEM;
	fprintf(out, "\nResident, committed and guarantee in GiB-hours, amounts in %s.\n", currency);
	return 0;
}

/* Quoted where CSV needs it. */
static void csv_text(FILE *out, const char *text)
{
	if (!text[strcspn(text, ",\"\r\n")]) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void csv_line(FILE *out, const json_t *line, const char *currency)
{
	static const char *const names[] = { "tenant", "vm", "uuid", "plan" };
	static const char *const sums[] = {
		"resident-block-ns", "committed-block-ns", "guarantee-block-ns",
	};
	static const char *const counts[] = { "peak-resident-blocks", "touches", "waits", "wait-ns" };
	char when[WHEN_TEXT_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		csv_text(out, text_of(line, names[i]));
		fputc(',', out);
	}
	fprintf(out, "%s,", when_format_iso(int_of(line, "start"), when));
	fprintf(out, "%s,%" PRId64 ",", when_format_iso(int_of(line, "until"), when),
		int_of(line, "covered-ms"));
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
		fprintf(out, "%s,", text_of(line, sums[i]));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		fprintf(out, "%" PRId64 ",", int_of(line, counts[i]));
	fprintf(out, "%s,%s\n", text_of(line, "amount"), currency);
}

void bill_print_csv(const json_t *bill, FILE *out)
{
	json_t *line;
	size_t i;

	fputs("tenant,vm,uuid,plan,start,until,covered_ms,resident_block_ns,committed_block_ns,"
	      "guarantee_block_ns,peak_resident_blocks,touches,waits,wait_ns,amount,currency\n", out);
	json_array_foreach(json_object_get(bill, "lines"), i, line)
		csv_line(out, line, text_of(bill, "currency"));
}
