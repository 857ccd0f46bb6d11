// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target for what tells the daemon where the pool is (host/pool/reserved.h): a flattened
 * device tree, which begins with a magic of its own; after the byte 'i' the text of
 * /proc/iomem; else what an operator writes behind "reserved:". Ranges that are taken are
 * whole blocks, and none wraps around.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../host/base/size.h"
#include "../../host/pool/reserved_fdt.h"
#include "../../host/pool/reserved_ranges.h"
#include "../../proto/memlease_ioctl.h"

#define BLOCK (1ULL << MEMLEASE_POOL_BLOCK_SHIFT)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct reserved_want want[BACKEND_RANGES_MAX];
static unsigned int wants;
static struct ml_why why;

static void check(int error)
{
	if (error == -ENOENT)	/* a device tree that has nothing for us */
		return;
	if (error) {
		assert(why.text[0] && memchr(why.text, '\0', sizeof(why.text)));
		return;
	}
	assert(wants > 0 && wants <= BACKEND_RANGES_MAX);
	for (unsigned int i = 0; i < wants; i++) {
		assert(want[i].bytes > 0 && want[i].bytes % BLOCK == 0 && want[i].base % BLOCK == 0);
		assert(want[i].base + want[i].bytes - 1 > want[i].base);
	}
}

static void iomem(const char *text)
{
	static const struct reserved_want two[] = {
		{ .base = 0x140000000, .bytes = 512 * BLOCK / 2, .node = -1 },
		{ .base = 0x240000000, .bytes = BLOCK, .node = 0, .tier = 1 },
	};
	char candidates[200];
	int error = reserved_ranges_check(text, two, 2, &why);

	assert(error == 0 || why.text[0]);
	assert(memchr(reserved_ranges_candidates(text, candidates, sizeof(candidates)), '\0',
		      sizeof(candidates)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of this very size, so that ASan sees who reads past it. */
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	why.text[0] = '\0';
	if (size >= 4 && memcmp(data, "\xd0\x0d\xfe\xed", 4) == 0) {
		void *blob = malloc(size);

		memcpy(blob, data, size);
		check(reserved_ranges_of_tree(blob, size, want, &wants, &why));
		free(blob);
	} else if (text[0] == 'i') {
		iomem(text + 1);
	} else {
		check(reserved_ranges_parse(text, want, &wants, &why));
	}
	free(text);
	return 0;
}
