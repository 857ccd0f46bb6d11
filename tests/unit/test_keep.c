// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keeper: what messages do to its store, the names it hands on, and how long
 * it waits before it starts a daemon again.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/daemon/keep.h"
#include "../../host/daemon/keep_store.h"
#include "../../host/daemon/store.h"
#include "lingering.h"

static struct keep_store store;

static int clear(void **state)
{
	(void)state;
	keep_store_clear(&store);
	return 0;
}

static int new_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static unsigned int say(const char *text, int fd)
{
	return keep_store_message(&store, text, strlen(text), &fd, fd >= 0);
}

static void test_put_and_drop(void **state)
{
	int a = new_fd(), b = new_fd();

	(void)state;
	assert_int_equal(say("FDSTORE=1\nFDNAME=uffd.a\nFDPOLL=0", a), 0);
	assert_int_equal(say("FDNAME=uffd.b\nFDSTORE=1\n", b), 0);
	assert_int_equal(store.count, 2);
	assert_string_equal(store.fds[0].name, "uffd.a");
	assert_int_equal(store.fds[1].fd, b);
	assert_int_equal(say("FDSTOREREMOVE=1\nFDNAME=uffd.a", -1), 0);
	assert_int_equal(store.count, 1);
	assert_false(is_open(a));
	assert_true(is_open(b));
	assert_int_equal(say("FDSTOREREMOVE=1\nFDNAME=uffd.none", -1), 0);
	assert_int_equal(store.count, 1);
}

/* Whatever is not stored is closed. */
static void test_refused(void **state)
{
	static const char *const texts[] = {
		"", "FDSTORE=1", "FDNAME=uffd.a", "FDSTORE=0\nFDNAME=uffd.a", "FDSTORE=1\nFDNAME=",
		"FDSTORE=1\nFDNAME=a:b", "FDSTORE=1\nFDNAME=a\tb", "FDSTORE=12\nFDNAME=a",
		"FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=a", "READY=1",
	};
	char text[KEEP_NAME_MAX + 64];
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fd = new_fd();
		say(texts[i], fd);
		assert_int_equal(store.count, 0);
		assert_false(is_open(fd));
	}
	memset(text, 'x', sizeof(text));
	memcpy(text, "FDSTORE=1\nFDNAME=", 17);
	text[17 + KEEP_NAME_MAX + 1] = '\0';
	fd = new_fd();
	say(text, fd);
	assert_int_equal(store.count, 0);
	assert_false(is_open(fd));
	text[17 + KEEP_NAME_MAX] = '\0';
	say(text, new_fd());
	assert_int_equal(store.count, 1);
}

/* What the daemon was given by others is closed by others. */
static void test_keeper_does_not_wait(void **state)
{
	uint64_t before = now_ms();
	int other[3];

	(void)state;
	say("READY=1", lingering(&other[0]));
	say("FDSTORE=1\nFDNAME=uffd.a", lingering(&other[1]));
	say("FDSTORE=1\nFDNAME=uffd.b", lingering(&other[2]));
	say("FDSTOREREMOVE=1\nFDNAME=uffd.a", -1);
	keep_store_clear(&store);
	assert_true(now_ms() - before < SOON_MS);
	for (int i = 0; i < 3; i++)
		close(other[i]);
}

static void test_said(void **state)
{
	(void)state;
	assert_int_equal(say("READY=1\nSTATUS=fine", -1), KEEP_READY);
	assert_int_equal(say("WATCHDOG=1", -1), KEEP_WATCHDOG);
	assert_int_equal(say("READY=1\nWATCHDOG=1\n", -1), KEEP_READY | KEEP_WATCHDOG);
	assert_int_equal(say("READY=0\nxREADY=1\nREADY=10", -1), 0);
}

static void test_full(void **state)
{
	char text[64];
	int i, fd = -1;

	(void)state;
	for (i = 0; i <= KEEP_FDS_MAX; i++) {
		snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=uffd.%d", i);
		/* The store does not look at descriptors: one that is not open will do. */
		fd = 100000 + i;
		say(text, fd);
	}
	assert_int_equal(store.count, KEEP_FDS_MAX);
	assert_string_equal(store.fds[KEEP_FDS_MAX - 1].name, "uffd.4095");
}

static void test_names(void **state)
{
	char text[KEEP_NAME_MAX + 64];
	size_t count, i;
	char *names;

	(void)state;
	names = keep_store_names(&store, &count);
	assert_int_equal(count, 0);
	assert_string_equal(names, "");
	free(names);
	say("FDSTORE=1\nFDNAME=uffd.a", new_fd());
	say("FDSTORE=1\nFDNAME=uffd.b", new_fd());
	names = keep_store_names(&store, &count);
	assert_int_equal(count, 2);
	assert_string_equal(names, "uffd.a:uffd.b");
	free(names);
	/* Too long together: as many as fit, whole. */
	memset(text, 'x', sizeof(text));
	memcpy(text, "FDSTORE=1\nFDNAME=", 17);
	text[17 + 200] = '\0';
	for (i = 0; i < 1000; i++)
		say(text, 100000);
	names = keep_store_names(&store, &count);
	assert_in_range(count, 2, store.count - 1);
	assert_in_range(strlen(names), KEEP_ENV_MAX - 210, KEEP_ENV_MAX - 1);
	assert_int_equal(strlen(names), 13 + (count - 2) * 201);
	free(names);
}

static void test_delay(void **state)
{
	uint64_t delay = 0, sum = 0;
	int i;

	(void)state;
	assert_int_equal(keep_delay_ms(KEEP_SHORT_LIFE_MS, 5000), 0);
	assert_int_equal(keep_delay_ms(3600000, 0), 0);
	for (i = 0; i < 20; i++) {
		uint64_t next = keep_delay_ms(10, delay);

		assert_in_range(next, KEEP_DELAY_MIN_MS, KEEP_DELAY_MAX_MS);
		assert_true(next >= delay);
		delay = next;
		sum += delay;
	}
	assert_int_equal(delay, KEEP_DELAY_MAX_MS);
	assert_true(sum > 20000);
}

static void test_vm_of(void **state)
{
	(void)state;
	assert_string_equal(store_vm_of("uffd.web-1"), "web-1");
	assert_null(store_vm_of("uffd."));
	assert_null(store_vm_of("uffd"));
	assert_null(store_vm_of("control"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_put_and_drop, clear),
		cmocka_unit_test_teardown(test_refused, clear),
		cmocka_unit_test_teardown(test_keeper_does_not_wait, clear),
		cmocka_unit_test_teardown(test_said, clear),
		cmocka_unit_test_teardown(test_full, clear),
		cmocka_unit_test_teardown(test_names, clear),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_vm_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
