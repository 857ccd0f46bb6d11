// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pool's ranges by the host's device tree; see reserved_fdt.h. A node that the
 * firmware, or an operator's overlay, puts there:
 *
 *	reserved-memory {
 *		#address-cells = <2>; #size-cells = <2>; ranges;
 *		pool@140000000 {
 *			compatible = "memlease,pool";
 *			reg = <0x1 0x40000000 0x0 0x20000000>;
 *			no-map;
 *			numa-node-id = <0>;		// optional
 *			memlease,tier = <0>;		// optional
 *		};
 *	};
 *
 * libfdt checks the blob as a whole first, and every length after. Pure: reads
 * nothing but the blob.
 */
#include "reserved_fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <string.h>

#include "../../proto/memlease_ioctl.h"

#define POOL_COMPATIBLE "memlease,pool"
#define CELLS_MAX 2
#define OLDEST_VERSION 16	/* of the format of trees; dtc and kernels write 17 */
#define BLOCK (1ULL << MEMLEASE_POOL_BLOCK_SHIFT)

struct tree {
	const void *blob;
	int address_cells, size_cells;
	struct reserved_want *want;
	unsigned int *wants;
	struct ml_why *why;
};

static int bad_node(struct tree *t, int node, const char *what)
{
	const char *name = node >= 0 ? fdt_get_name(t->blob, node, NULL) : NULL;

	return ml_refuse(t->why, -EINVAL, "device tree: /reserved-memory%s%.60s %s",
			 name ? "/" : "", name ? name : "", what);
}

static uint64_t cells_value(const fdt32_t *cells, int count)
{
	uint64_t value = 0;

	for (int i = 0; i < count; i++) {
		fdt32_t cell;

		memcpy(&cell, &cells[i], sizeof(cell));
		value = value << 32 | fdt32_to_cpu(cell);
	}
	return value;
}

/* A property of one cell; absent is no error, another length is. */
static int one_cell(struct tree *t, int node, const char *name, uint32_t *out)
{
	const fdt32_t *cell;
	int len;

	cell = fdt_getprop(t->blob, node, name, &len);
	if (!cell)
		return len == -FDT_ERR_NOTFOUND ? 0 : bad_node(t, node, "cannot be read");
	if (len != (int)sizeof(*cell))
		return bad_node(t, node, "has a number that is not one cell");
	*out = (uint32_t)cells_value(cell, 1);
	return 0;
}

static bool enabled(const struct tree *t, int node)
{
	const char *status = fdt_stringlist_get(t->blob, node, "status", 0, NULL);

	return !status || !strcmp(status, "okay") || !strcmp(status, "ok");
}

static int add_range(struct tree *t, int node, struct reserved_want range)
{
	uint64_t end;

	if (!range.bytes || range.base % BLOCK || range.bytes % BLOCK ||
	    __builtin_add_overflow(range.base, range.bytes, &end))
		return bad_node(t, node, "has a range that is empty, wraps around, or is no multiple of 2 MiB");
	for (unsigned int i = 0; i < *t->wants; i++) {
		const struct reserved_want *other = &t->want[i];

		if (range.base < other->base + other->bytes && other->base < end)
			return bad_node(t, node, "overlaps another range of the pool");
	}
	if (*t->wants == BACKEND_RANGES_MAX)
		return bad_node(t, node, "has more ranges than the 64 that a pool can have");
	t->want[(*t->wants)++] = range;
	return 0;
}

static int add_node(struct tree *t, int node)
{
	int cells = t->address_cells + t->size_cells, len, ret;
	uint32_t numa = UINT32_MAX, tier = 0;
	const fdt32_t *reg;

	/* Without it Linux keeps a page array for the memory, and the module refuses it. */
	if (!fdt_getprop(t->blob, node, "no-map", NULL))
		return bad_node(t, node, "lacks no-map, so Linux manages that memory itself; add it");
	ret = one_cell(t, node, "numa-node-id", &numa);
	if (!ret)
		ret = one_cell(t, node, "memlease,tier", &tier);
	if (ret)
		return ret;
	reg = fdt_getprop(t->blob, node, "reg", &len);
	if (!reg || len <= 0 || len % (cells * (int)sizeof(*reg)))
		return bad_node(t, node, "has no reg of whole pairs of address and size");
	for (int i = 0; !ret && i < len / (int)sizeof(*reg); i += cells)
		ret = add_range(t, node, (struct reserved_want){
			.base = cells_value(reg + i, t->address_cells),
			.bytes = cells_value(reg + i + t->address_cells, t->size_cells),
			.node = numa > INT16_MAX ? -1 : (int)numa,
			.tier = tier > UINT8_MAX ? UINT8_MAX : tier,
		});
	return ret;
}

int reserved_ranges_of_tree(const void *blob, size_t size,
			    struct reserved_want want[BACKEND_RANGES_MAX], unsigned int *wants,
			    struct ml_why *why)
{
	struct tree t = { .blob = blob, .want = want, .wants = wants, .why = why };
	int parent, node, len, ret = 0;

	*wants = 0;
	why->text[0] = '\0';
	/* libfdt's check reads the root's name, which it may not find in a tree that is older. */
	ret = size >= FDT_V1_SIZE && fdt_magic(blob) == FDT_MAGIC && fdt_version(blob) < OLDEST_VERSION
		? -FDT_ERR_BADVERSION : fdt_check_full(blob, size);
	if (ret)
		return ml_refuse(why, -EINVAL, "device tree of %zu bytes: %s", size,
				 fdt_strerror(ret));
	parent = fdt_path_offset(blob, "/reserved-memory");
	if (parent < 0)
		return -ENOENT;
	t.address_cells = fdt_address_cells(blob, parent);
	t.size_cells = fdt_size_cells(blob, parent);
	fdt_for_each_subnode(node, blob, parent) {
		if (fdt_node_check_compatible(blob, node, POOL_COMPATIBLE) || !enabled(&t, node))
			continue;
		if (t.address_cells < 1 || t.address_cells > CELLS_MAX || t.size_cells < 1 ||
		    t.size_cells > CELLS_MAX)
			return bad_node(&t, -1, "has addresses or sizes of other than 1 or 2 cells");
		/* Empty: addresses there are physical ones. */
		if (!fdt_getprop(blob, parent, "ranges", &len) || len)
			return bad_node(&t, -1, "must have an empty `ranges'");
		ret = add_node(&t, node);
		if (ret)
			return ret;
	}
	return *wants ? 0 : -ENOENT;
}
