// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * reserved_ranges_find() and reserved_device_open() on this very machine, which has neither
 * a carve-out nor the module: what they refuse, and that they say why. As root; who is not
 * sees no addresses in /proc/iomem, and is told so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../../proto/memlease_ioctl.h"
#include "../../host/pool/reserved_device.h"
#include "../../host/pool/reserved_ranges.h"

#define BEYOND "0x3f0000000000"	/* 63 TiB: no memory there */

static struct reserved_setup setup;

/* Where standard error, the log, goes meanwhile. */
static FILE *heard;
static int before = -1;

static void listen_to_log(void)
{
	fflush(stderr);
	heard = tmpfile();
	assert_non_null(heard);
	before = dup(STDERR_FILENO);
	assert_int_equal(dup2(fileno(heard), STDERR_FILENO), STDERR_FILENO);
}

/* Whether the log has these words. */
static bool log_has(const char *words)
{
	char text[4096] = "";
	size_t n;

	fflush(stderr);
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(heard);
	n = fread(text, 1, sizeof(text) - 1, heard);
	text[n] = '\0';
	fclose(heard);
	if (!strstr(text, words))
		print_message("the log lacks '%s': %s\n", words, text);
	return strstr(text, words);
}

static void beyond_all_memory(void **state)
{
	(void)state;
	memset(&setup, 0, sizeof(setup));
	if (geteuid() == 0) {
		assert_int_equal(reserved_ranges_find(BEYOND ",512M", &setup), 0);
		assert_int_equal(setup.wants, 1);
		assert_int_equal(setup.want[0].base, strtoull(BEYOND, NULL, 16));
	} else {
		listen_to_log();
		assert_int_equal(reserved_ranges_find(BEYOND ",512M", &setup), -EACCES);
		assert_true(log_has("start as root"));
	}
}

/* The first 2 MiB of Linux's memory that begin at such an address; 0: none is seen. */
static uint64_t of_linux(void)
{
	FILE *f = fopen("/proc/iomem", "re");
	uint64_t first, last, found = 0;
	char line[256];

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &first, &last) != 2 || !strstr(line, "System RAM"))
			continue;
		first = (first + MEMLEASE_BLOCK_BYTES - 1) / MEMLEASE_BLOCK_BYTES * MEMLEASE_BLOCK_BYTES;
		if (first && first + MEMLEASE_BLOCK_BYTES - 1 <= last)
			found = first;
	}
	fclose(f);
	return found;
}

static void what_linux_uses(void **state)
{
	uint64_t base = of_linux();
	char text[60];

	(void)state;
	snprintf(text, sizeof(text), "0x%" PRIx64 ",2M", base ? base : (uint64_t)MEMLEASE_BLOCK_BYTES);
	listen_to_log();
	assert_int_equal(reserved_ranges_find(text, &setup), base ? -EEXIST : -EACCES);
	assert_true(log_has("--pool reserved: "));
}

static void what_cannot_be_read(void **state)
{
	(void)state;
	listen_to_log();
	assert_int_equal(reserved_ranges_find("512M", &setup), -EINVAL);
	assert_true(log_has("--pool reserved: "));
}

/* A machine with a device tree that names a pool has more to say than this. */
static void nothing_named(void **state)
{
	int ret;

	(void)state;
	listen_to_log();
	ret = reserved_ranges_find(NULL, &setup);
	assert_true(log_has(ret ? "--pool reserved: " : ""));
	if (access("/sys/firmware/fdt", F_OK) < 0)
		assert_int_equal(ret, -EINVAL);
}

static void no_module(void **state)
{
	struct reserved_device *device = NULL;
	int ret;

	(void)state;
	if (access(MEMLEASE_POOL_CONTROL, F_OK) == 0)
		return;	/* it is loaded, and may be somebody's */
	listen_to_log();
	ret = reserved_device_open(&device);
	assert_true(log_has("modprobe memlease_pool"));
	assert_int_equal(ret, -ENOENT);
	assert_null(device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beyond_all_memory), cmocka_unit_test(what_linux_uses),
		cmocka_unit_test(what_cannot_be_read), cmocka_unit_test(nothing_named),
		cmocka_unit_test(no_module),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
