// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool/file.c on a kernel before 6.5, which has no cachestat(): what is resident is found
 * by SEEK_DATA, which sees only what was written to, and the backend says so. A filter of
 * system calls makes the kernel older.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../../proto/memlease_abi.h"
#include "../../host/pool/backend.h"
#include "scratch.h"

#define BLOCK MEMLEASE_BLOCK_BYTES
#define BLOCKS 16
#define SLOTS 64
#define NR_CACHESTAT 451

struct fixture {
	struct scratch scratch;
	struct backend *b;
	struct backend_region r;
};

static int group_setup(void **state)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	(void)state;
	assert_non_null(filter);
	assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), NR_CACHESTAT, 0), 0);
	assert_int_equal(seccomp_load(filter), 0);
	seccomp_release(filter);
	assert_int_equal(syscall(NR_CACHESTAT, -1, NULL, NULL, 0), -1);
	assert_int_equal(errno, ENOSYS);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_make(&f->scratch, 2 * BLOCKS), 0);
	assert_int_equal(backend_file_open(&f->b, f->scratch.pool, BLOCKS), 0);
	assert_int_equal(f->b->ops->create(f->b, "r", SLOTS), 0);
	assert_int_equal(f->b->ops->open(f->b, "r", SLOTS, &f->r), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->b->ops->close(&f->r);
	f->b->ops->free(f->b);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

/* A guest writes to a slot that is mapped. */
static void write_to(struct fixture *f, uint64_t slot)
{
	char *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, f->r.fd, (off_t)(slot * BLOCK));

	assert_ptr_not_equal(p, MAP_FAILED);
	p[0] = 1;
	munmap(p, BLOCK);
}

static void only_what_was_written_to_is_seen(void **state)
{
	static const uint64_t written[] = { 0, 7, 8, 63 };
	struct fixture *f = *state;
	uint8_t present[SLOTS];

	assert_false(f->b->scan_sees_all);
	assert_int_equal(f->b->ops->map(&f->r, 20, 0), 0);	/* and nobody writes to it */
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		assert_int_equal(f->b->ops->map(&f->r, written[i], 0), 0);
		write_to(f, written[i]);
	}
	memset(present, 9, sizeof(present));
	assert_int_equal(f->b->ops->scan(&f->r, 0, SLOTS, present), 0);
	for (uint64_t s = 0, i = 0; s < SLOTS; s++) {
		bool wanted = i < sizeof(written) / sizeof(written[0]) && written[i] == s;

		i += wanted;
		if (s == 20)	/* absence is no proof, presence no lie */
			continue;
		assert_int_equal(present[s], wanted);
	}
}

static void of_a_range_only_that(void **state)
{
	struct fixture *f = *state;
	uint8_t present[4];

	for (uint64_t s = 4; s < 12; s += 2) {
		assert_int_equal(f->b->ops->map(&f->r, s, 0), 0);
		write_to(f, s);
	}
	memset(present, 9, sizeof(present));
	assert_int_equal(f->b->ops->scan(&f->r, 5, 3, present), 0);
	assert_int_equal(present[0], 0);
	assert_int_equal(present[1], 1);
	assert_int_equal(present[2], 0);
	assert_int_equal(present[3], 9);
	/* Nothing is there up to the end of the file. */
	assert_int_equal(f->b->ops->scan(&f->r, 11, 4, present), 0);
	assert_int_equal(present[0] | present[1] | present[2] | present[3], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_what_was_written_to_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_range_only_that, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
