// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/zero_loops and the CPU's engine: every loop zeroes what it is given and no byte more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../host/base/bus.h"
#include "../../host/pool/zero_cpu.h"
#include "../../host/pool/zero_loops.h"

#define UNIT ((size_t)ZERO_ALIGN)

static bool all(const char *data, size_t bytes, char byte)
{
	return data[0] == byte && !memcmp(data, data + 1, bytes - 1);
}

static void every_loop_zeroes_exactly(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 31, 128 };
	size_t whole = 130 * UNIT;
	char *data = aligned_alloc(UNIT, whole);
	unsigned int ran = 0;

	(void)state;
	assert_non_null(data);
	for (unsigned int i = 0; i < zero_loop_count; i++) {
		if (!zero_loops[i].usable()) {
			print_message("this CPU has no %s\n", zero_loops[i].name);
			continue;
		}
		ran++;
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			size_t bytes = sizes[s] * UNIT;

			memset(data, 0xa5, whole);
			zero_loops[i].run(data + UNIT, bytes);
			assert_true(all(data, UNIT, (char)0xa5));
			assert_true(all(data + UNIT, bytes, 0));
			assert_true(all(data + UNIT + bytes, whole - UNIT - bytes, (char)0xa5));
		}
		/* Nothing at all is all right, too. */
		memset(data, 0xa5, UNIT);
		zero_loops[i].run(data, 0);
		assert_true(all(data, UNIT, (char)0xa5));
	}
	assert_true(ran >= 1);
	free(data);
}

static void names_lead_to_loops(void **state)
{
	(void)state;
	assert_ptr_equal(zero_loop_named("memset"), &zero_loops[0]);
	assert_null(zero_loop_named("no-such-loop"));
	assert_null(zero_loop_named(""));
	for (unsigned int i = 0; i < zero_loop_count; i++) {
		const struct zero_loop *loop = zero_loop_named(zero_loops[i].name);

		assert_ptr_equal(loop, zero_loops[i].usable() ? &zero_loops[i] : NULL);
	}
}

static void the_choice_is_the_fastest(void **state)
{
	struct zero_choice c;
	uint64_t most = 0;

	(void)state;
	assert_int_equal(zero_choose(&c), 0);
	for (unsigned int i = 0; i < zero_loop_count; i++) {
		assert_int_equal(c.rate[i] > 0, zero_loops[i].usable());
		most = c.rate[i] > most ? c.rate[i] : most;
	}
	assert_in_range(c.rate[c.best - zero_loops], most - most / 50, most);
	assert_true(c.best->usable());
	assert_true(c.took_ns > 0);
}

/* --- the engine --- */

static void the_engine_zeroes(void **state)
{
	const struct zero_engine *engine = zero_cpu_engine();
	struct zero_job jobs[3] = { 0 }, *todo[3], *done[4];
	struct zero_queue *queue;
	char *data = aligned_alloc(UNIT, 4 * UNIT);
	bool seen[3] = { false };
	unsigned int n;

	(void)state;
	assert_non_null(engine);
	assert_ptr_equal(engine, zero_cpu_engine());
	assert_non_null(strstr(engine->name, "CPU: "));
	assert_int_equal(engine->ops->open(engine, &queue), 0);
	assert_int_equal(engine->ops->reap(queue, done, 4, 0), 0);
	memset(data, 1, 4 * UNIT);
	for (int i = 0; i < 3; i++) {
		jobs[i] = (struct zero_job){ .data = data + (size_t)i * UNIT, .bytes = UNIT, .block = i, .error = 7 };
		todo[i] = &jobs[i];
	}
	assert_int_equal(engine->ops->submit(queue, todo, 3), 3);
	/* No more than asked for, each once. */
	n = engine->ops->reap(queue, done, 2, 0);
	assert_int_equal(n, 2);
	n += engine->ops->reap(queue, done + 2, 2, 0);
	assert_int_equal(n, 3);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(done[i]->error, 0);
		assert_false(seen[done[i]->block]);
		seen[done[i]->block] = true;
	}
	assert_true(all(data, 3 * UNIT, 0));
	assert_true(all(data + 3 * UNIT, UNIT, 1));
	engine->ops->close(queue);
	free(data);
}

/* Memory that goes away in the middle is that job's error, and no one else's. */
static void memory_that_is_gone_is_an_error(void **state)
{
	const struct zero_engine *engine = zero_cpu_engine();
	size_t bytes = 16 * UNIT;
	int fd = memfd_create("memlease-test", MFD_CLOEXEC);
	struct zero_job jobs[3] = { 0 }, *todo[3] = { &jobs[0], &jobs[1], &jobs[2] }, *done[3];
	struct zero_queue *queue;
	char *gone, *well;

	(void)state;
	assert_int_equal(ml_bus_init(), 0);	/* cmocka sets handlers of its own */
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	gone = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(gone, MAP_FAILED);
	assert_int_equal(ftruncate(fd, (off_t)(bytes / 2)), 0);
	well = aligned_alloc(UNIT, 2 * bytes);
	memset(well, 1, 2 * bytes);
	jobs[0] = (struct zero_job){ .data = well, .bytes = bytes };
	jobs[1] = (struct zero_job){ .data = gone, .bytes = bytes, .block = 1 };
	jobs[2] = (struct zero_job){ .data = well + bytes, .bytes = bytes };
	assert_int_equal(engine->ops->open(engine, &queue), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(engine->ops->submit(queue, todo, 3), 3);
		assert_int_equal(engine->ops->reap(queue, done, 3, 0), 3);
		assert_int_equal(jobs[0].error, 0);
		assert_int_equal(jobs[1].error, -EFAULT);
		assert_int_equal(jobs[2].error, 0);
		assert_true(all(well, 2 * bytes, 0));
	}
	engine->ops->close(queue);
	munmap(gone, bytes);
	free(well);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_loop_zeroes_exactly),
		cmocka_unit_test(names_lead_to_loops),
		cmocka_unit_test(the_choice_is_the_fastest),
		cmocka_unit_test(the_engine_zeroes),
		cmocka_unit_test(memory_that_is_gone_is_an_error),
	};

	return cmocka_run_group_tests_name("zero_loops", tests, NULL, NULL);
}
