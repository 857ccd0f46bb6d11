// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes: QEMU in the foreground or detached. Called by run, after the daemon
 * has made the VM.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/clock.h"
#include "../base/walk.h"
#include "ask.h"
#include "exit.h"
#include "view.h"

#define POLL_US 100000
#define LOG_TAIL_BYTES 2000
#define QEMU_NAME "qemu-system-x86_64"

extern char **environ;

static volatile sig_atomic_t child_pid, held_signal;

static void hold(int signal)
{
	held_signal = signal;
}

void launch_hold_signals(void)
{
	struct sigaction held = { .sa_handler = hold }, ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGINT, &held, NULL);
	sigaction(SIGTERM, &held, NULL);
	sigaction(SIGHUP, &held, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

int launch_signal(void)
{
	return held_signal;
}

static void pass_on(int signal)
{
	if (child_pid > 0)
		kill((pid_t)child_pid, signal);
}

/* The terminal sends its signals to QEMU by itself; those from elsewhere are passed on. */
static void stay_behind(void)
{
	struct sigaction pass = { .sa_handler = pass_on }, ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGTERM, &pass, NULL);
	sigaction(SIGHUP, &pass, NULL);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
}

/* Signals to be passed on are blocked until child_pid is set, or one that comes before is lost. */
static int spawn(const struct words *qemu, const posix_spawn_file_actions_t *files, short flags,
		 pid_t *child)
{
	sigset_t passed, defaults, before;
	posix_spawnattr_t attr;
	int err;

	sigemptyset(&passed);
	sigaddset(&passed, SIGTERM);
	sigaddset(&passed, SIGHUP);
	defaults = passed;
	sigaddset(&defaults, SIGINT);
	sigaddset(&defaults, SIGQUIT);
	sigaddset(&defaults, SIGPIPE);
	sigprocmask(SIG_BLOCK, &passed, &before);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setsigmask(&attr, &before);
	posix_spawnattr_setflags(&attr, flags | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	fflush(NULL);
	err = posix_spawn(child, qemu->v[0], files, &attr, qemu->v, environ);
	posix_spawnattr_destroy(&attr);
	child_pid = err ? 0 : *child;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (err)
		cli_error("run: cannot start %s: %s", qemu->v[0], strerror(err));
	return -err;
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int launch_foreground(const struct words *qemu)
{
	pid_t child;
	int status;

	stay_behind();
	if (held_signal)
		return 128 + held_signal;
	if (spawn(qemu, NULL, 0, &child))
		return CLI_FAILED;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return CLI_FAILED;
	child_pid = 0;
	return exit_status(status);
}

/* The last lines of a log, to standard error. */
static void show_tail(const char *path)
{
	char text[LOG_TAIL_BYTES + 1];
	ml_autofclose FILE *log = fopen(path, "re");
	size_t n;

	if (!log)
		return;
	if (fseek(log, -LOG_TAIL_BYTES, SEEK_END))
		rewind(log);
	n = fread(text, 1, LOG_TAIL_BYTES, log);
	fwrite(text, 1, n, stderr);
}

int launch_log(const char *path)
{
	struct ml_why why = { "" };
	ml_autoclose int fd = ml_walk_file(path, O_WRONLY, &why);

	if (fd < 0) {
		cli_error("run: %s", why.text);
		return fd;
	}
	if (ftruncate(fd, 0)) {
		cli_error("run: %s: %s", path, strerror(errno));
		return -errno;
	}
	return ml_steal_fd(&fd);
}

static int spawn_detached(const struct words *qemu, const char *log, pid_t *child)
{
	posix_spawn_file_actions_t files;
	ml_autoclose int out = launch_log(log);
	int err;

	if (out < 0)
		return out;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
	err = spawn(qemu, &files, POSIX_SPAWN_SETSID, child);
	posix_spawn_file_actions_destroy(&files);
	return err;
}

/* 1: it runs; 0: not yet; -1 after a complaint. */
static int is_running(struct qmp *daemon, const char *name)
{
	auto_json json_t *json = cli_call(daemon, "query-vm", cli_name_args(name));
	struct vm_view vm;

	if (!json)
		return -1;
	vm_view(json, &vm);
	return !strcmp(vm.state, "running");
}

/* One that has not started yet may not heed SIGTERM, and has nothing to lose. */
static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

int launch_detached(const struct words *qemu, struct qmp *daemon, const char *name, const char *log)
{
	uint64_t end = ml_boot_ns(&ml_clock_real) + LAUNCH_TIMEOUT_MS * 1000000ULL;
	int status, running;
	pid_t child;

	if (spawn_detached(qemu, log, &child))
		return CLI_FAILED;
	do {
		if (waitpid(child, &status, WNOHANG) == child) {
			cli_error("run: QEMU ended with status %d before the VM ran; it said (%s):",
				  exit_status(status), log);
			show_tail(log);
			return CLI_FAILED;
		}
		if (held_signal) {
			end_child(child);
			cli_error("run: ended by signal %d before the VM ran", held_signal);
			return CLI_FAILED;
		}
		running = is_running(daemon, name);
		if (running < 0)
			return CLI_FAILED;
		if (running) {
			printf("%s runs: QEMU is process %d, its messages are in %s\n", name, (int)child, log);
			return CLI_OK;
		}
		usleep(POLL_US);
	} while (ml_boot_ns(&ml_clock_real) < end);
	/* Its VM is forgotten: it would come for the next one of that name. */
	end_child(child);
	cli_error("run: QEMU (process %d) had not reached the daemon after %d s and was ended; see %s",
		  (int)child, LAUNCH_TIMEOUT_MS / 1000, log);
	return CLI_FAILED;
}

static bool executable(const char *path)
{
	return !access(path, X_OK);
}

const char *launch_find_qemu(const char *given, char *buf, size_t size)
{
	static const char *const places[] = { "", "../libexec/memlease/", "../lib/memlease/" };
	const char *env = getenv("MEMLEASE_QEMU");
	char dir[4096];
	ssize_t n;

	if (!given && env && *env)
		given = env;
	if (given) {
		if (executable(given))
			return given;
		cli_error("run: QEMU '%s' (%s) cannot be executed: %s", given,
			  given == env ? "from MEMLEASE_QEMU" : "from --qemu", strerror(errno));
		return NULL;
	}
	n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	dir[n > 0 ? n : 0] = '\0';
	if (strrchr(dir, '/'))
		strrchr(dir, '/')[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if ((size_t)snprintf(buf, size, "%s%s" QEMU_NAME, dir, places[i]) < size && executable(buf))
			return buf;
	}
	cli_error("run: found no QEMU with the memlease device. Build one by scripts/build-qemu in memlease's source tree, then: export MEMLEASE_QEMU=$(scripts/build-qemu --print-path), or give --qemu PATH");
	return NULL;
}
