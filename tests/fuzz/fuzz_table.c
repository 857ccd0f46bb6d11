// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target for the file of the block table (host/pool/pool.h): what a daemon finds when
 * it starts. The input's first bytes are the file's header, the rest its words. A pool that
 * opens passes its own checks before and after all of it is lent, and opens once more.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../host/base/log.h"
#include "../../host/pool/pool.h"

#define BLOCKS 96
#define BOOT_ID "3f1d2c4b-0000-4000-8000-000000000001"
#define HEADER_INPUT_BYTES 64	/* of the input; then come words */
#define WORDS_AT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/memlease-fuzz.XXXXXX";
static int dir_fd = -1;

static void clean(void)
{
	unlinkat(dir_fd, "blocks", 0);
	rmdir(dir);
}

static void begin(void)
{
	ml_log_set_level(ML_LOG_ERR);
	assert(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(dir_fd >= 0);
	atexit(clean);
}

/* A daemon's start: nobody knows of any loan, so none is kept. */
static bool opens(struct pool *pool, bool zeroed_on_map)
{
	const struct pool_setup setup = {
		.dirfd = dir_fd, .blocks = BLOCKS, .zeroed_on_map = zeroed_on_map, .boot_id = BOOT_ID,
	};
	bool old_boot;
	uint32_t need;

	return pool_open(pool, &setup, &old_boot, &need) == 0;
}

static void use(bool zeroed_on_map)
{
	struct block_owner owner = { .vm = 1 };
	struct pool pool;
	uint32_t block, lent = 0;

	if (!opens(&pool, zeroed_on_map))
		return;
	pool_validate(&pool);
	while ((block = pool_get(pool_self(&pool), owner)) != POOL_NO_BLOCK) {
		assert(block < BLOCKS && ++lent <= BLOCKS);
		owner.slot++;
	}
	pool_validate(&pool);
	pool_close(&pool);
	assert(opens(&pool, zeroed_on_map));
	pool_close(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t head = size < HEADER_INPUT_BYTES ? size : HEADER_INPUT_BYTES;

	if (dir_fd < 0)
		begin();
	int fd = openat(dir_fd, "blocks", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	assert(fd >= 0);
	assert(pwrite(fd, data, head, 0) == (ssize_t)head);
	if (size > head)
		assert(pwrite(fd, data + head, size - head, WORDS_AT) == (ssize_t)(size - head));
	close(fd);
	use(size % 2);
	return 0;
}
