// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The system-call filter, on a process of its own per case: what the daemon does
 * goes through, what it never does is refused or ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/daemon/sandbox.h"

#define CANNOT_FILTER 77

/* Runs what under the filter: its exit status, or minus the signal it died of. */
static int under_filter(int (*what)(void), enum config_sandbox mode)
{
	struct config config = { .sandbox = mode };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (sandbox_drop(&config) || sandbox_filter(&config))
			_exit(CANNOT_FILTER);
		_exit(what());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int internet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0;
}

static int mount_something(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL) != 0;
}

static int become_somebody(void)
{
	return (int)syscall(SYS_setresuid, 65534, 65534, 65534) != 0;
}

static int trace(void)
{
	return (int)syscall(SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0) != 0;
}

static int terminal_input(void)
{
	return ioctl(STDIN_FILENO, TIOCSTI, "x") != 0;
}

static int stop_qemu(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);

	return (int)syscall(SYS_pidfd_send_signal, fd, SIGSTOP, NULL, 0) != 0;
}

static int load_module(void)
{
	return (int)syscall(SYS_finit_module, -1, "", 0) != 0;
}

static int (*const forbidden[])(void) = {
	run_program, internet, netlink, mount_something, become_somebody, trace,
	terminal_input, stop_qemu, load_module,
};

/* A C library of another day tries a call that nobody here knows, and goes on without. */
static void test_refused_with_enosys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		int got = under_filter(forbidden[i], SANDBOX_ON);

		/* 1: the call failed, and its caller lived to say so. */
		if (got != 1)
			fail_msg("case %zu: %d, expected to fail and go on", i, got);
	}
}

static int newer_call_in_a_thread_start(void)
{
	sigset_t all;

	/* As glibc has it where it makes a thread: no signal could come through. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	return syscall(999, 0) != -1 || errno != ENOSYS;
}

static void test_newer_call(void **state)
{
	(void)state;
	assert_int_equal(under_filter(newer_call_in_a_thread_start, SANDBOX_ON), 0);
}

static void test_fatal(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		int got = under_filter(forbidden[i], SANDBOX_KILL);

		if (got != -SIGSYS)
			fail_msg("case %zu: %d, expected to die of SIGSYS", i, got);
	}
}

static int executable_memory(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at != MAP_FAILED || errno != EPERM)
		return 1;
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return 2;
	return mprotect(at, 4096, PROT_READ | PROT_EXEC) == 0 || errno != EPERM ? 3 : 0;
}

static void test_refused(void **state)
{
	(void)state;
	assert_int_equal(under_filter(executable_memory, SANDBOX_ON), 0);
}

static void *thread_main(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

/* As the ledger and the bills do. */
static int thread_and_database(void)
{
	char path[] = "/tmp/ml-sandbox-XXXXXX";
	pthread_t thread;
	int ran = 0, ret;
	sqlite3 *db;
	char sql_path[64];

	if (pthread_create(&thread, NULL, thread_main, &ran) || pthread_join(thread, NULL) || !ran)
		return 1;
	if (!mkdtemp(path))
		return 2;
	snprintf(sql_path, sizeof(sql_path), "%s/x.db", path);
	if (sqlite3_open(sql_path, &db) != SQLITE_OK)
		return 3;
	ret = sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);"
			   "BEGIN IMMEDIATE; UPDATE t SET a = 2; COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
			   "VACUUM;", NULL, NULL, NULL);
	if (sqlite3_close(db) != SQLITE_OK || ret != SQLITE_OK)
		return 4;
	return unlink(sql_path) || rmdir(path) ? 5 : 0;
}

/* As lending does. */
static int files_and_signals(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC), timer, pidfd;
	timer_t posix;

	if (fd < 0 || ftruncate(fd, 4 << 20) || fallocate(fd, 0, 0, 2 << 20) ||
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 << 20) ||
	    lseek(fd, 0, SEEK_DATA) >= 0 || fsync(fd))
		return 1;
	timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	if (timer < 0 || timer_create(CLOCK_MONOTONIC, NULL, &posix))
		return 2;
	pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0))
		return 3;
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0 ? 4 : 0;
}

static int aborts(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };

	sigaction(SIGABRT, &plain, NULL);
	abort();
}

static void test_allowed(void **state)
{
	(void)state;
	assert_int_equal(under_filter(thread_and_database, SANDBOX_ON), 0);
	assert_int_equal(under_filter(files_and_signals, SANDBOX_ON), 0);
	/* A failed assertion still tells what it was. */
	assert_int_equal(under_filter(aborts, SANDBOX_ON), -SIGABRT);
}

static void test_modes(void **state)
{
	(void)state;
	assert_int_equal(under_filter(internet, SANDBOX_OFF), 0);
	assert_int_equal(under_filter(internet, SANDBOX_LOG), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_with_enosys),
		cmocka_unit_test(test_newer_call),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
