// SPDX-License-Identifier: GPL-2.0-or-later
/* base/bus: a thread that guards itself survives memory that goes away; nobody else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../host/base/bus.h"

/* A page of a file that has been cut off since. */
static volatile char *gone_page(void)
{
	long page = sysconf(_SC_PAGESIZE);
	int fd = memfd_create("memlease-test", MFD_CLOEXEC);
	char *map;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, page), 0);
	map = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	return map;
}

static void drop_page(volatile char *page)
{
	munmap((void *)page, (size_t)sysconf(_SC_PAGESIZE));
}

/* 1: the store came through; 0: the guard was used. */
static int guarded_store(volatile char *to)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return 0;
	ml_bus_guard(&here);
	*to = 1;
	ml_bus_guard(NULL);
	return 1;
}

static void a_guard_brings_back(void **state)
{
	volatile char *page = gone_page();
	char well = 0;

	(void)state;
	assert_int_equal(ml_bus_init(), 0);
	assert_int_equal(ml_bus_init(), 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(guarded_store(page), 0);
		assert_int_equal(guarded_store(&well), 1);
		assert_int_equal(well, 1);
		well = 0;
	}
	drop_page(page);
}

static void *storer(void *arg)
{
	intptr_t caught = 0;

	for (int i = 0; i < 2000; i++)
		caught += !guarded_store(arg);
	return (void *)caught;
}

static void each_thread_has_its_own(void **state)
{
	volatile char *page = gone_page();
	char well = 0;
	pthread_t threads[4];
	void *caught;

	(void)state;
	assert_int_equal(ml_bus_init(), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storer, i % 2 ? (void *)page : &well), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &caught), 0);
		assert_int_equal((intptr_t)caught, i % 2 ? 2000 : 0);
	}
	drop_page(page);
}

/* How a child ends that touches the page without a guard, or with one that was used up. */
static int child_status(volatile char *page, bool guard_before, void (*handler)(int))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGBUS, handler);
		if (ml_bus_init())
			_exit(9);
		if (guard_before && guarded_store(page))
			_exit(8);
		*page = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void exit_7(int sig)
{
	(void)sig;
	_exit(7);
}

static void without_a_guard_it_is_as_before(void **state)
{
	volatile char *page = gone_page();

	(void)state;
	for (int guard = 0; guard < 2; guard++) {
		int status = child_status(page, guard, SIG_DFL);

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
		/* Ignoring a bus error would touch the page for ever. */
		status = child_status(page, guard, SIG_IGN);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
		/* Whoever was there before is asked. */
		status = child_status(page, guard, exit_7);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
	drop_page(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guard_brings_back),
		cmocka_unit_test(each_thread_has_its_own),
		cmocka_unit_test(without_a_guard_it_is_as_before),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
