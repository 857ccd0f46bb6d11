// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-sim: the pool of a backend that hands out real memory, under kill -9.
 *
 *   pool-sim [--seed N] [--crashes COUNT] [--threads COUNT] [--sabotage early|lazy]
 *
 * Each life of the daemon is a child that is killed between any two writes of what
 * survives it (--crashes), and the next one must find its way; what a crash left is looked
 * at before that. --threads does it with several threads and a kill from outside, at any
 * instruction, so that no two runs are alike. Between two lives guests go on, on what the
 * ring holds. On failure the seed is printed; the same seed makes the same run. --sabotage
 * has blocks put back before they are unmapped, or called clean unzeroed, to show that it
 * is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../host/base/log.h"
#include "sim.h"

#define RUN_CRASHES 250		/* of one seed; then a fresh world */
#define WRITES_PER_LIFE 1000
#define STEPS_PER_LIFE 1000
#define FAILED 3

struct sim_world *world;

/* splitmix64 */
uint64_t sim_random(uint64_t below)
{
	uint64_t z = world->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) % below;
}

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: seed %llu, after %llu crashes (last at: %s): ",
		(unsigned long long)world->seed, (unsigned long long)world->crashes,
		world->crashed_at);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(NULL);
	_exit(FAILED);
}

/* The table as the crash left it, before anybody repairs it. */
static void check_file(void)
{
	static uint64_t words[SIM_BLOCKS];
	struct table t = { .words = (_Atomic uint64_t *)words, .blocks = SIM_BLOCKS };
	int fd = openat(world->dirfd, "blocks", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;		/* killed before it made one */
	SIM_MUST(pread(fd, words, sizeof(words), 4096) == (ssize_t)sizeof(words), "short table");
	close(fd);
	check_table(&t, false);
}

static pid_t begin_life(bool threads)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (threads)
			sim_life_threads();
		sim_life(STEPS_PER_LIFE);
		_exit(0);
	}
	return pid;
}

static uint64_t some_writes(void)
{
	return 1 + sim_random(sim_random(4) ? WRITES_PER_LIFE : 20);
}

/* At any instruction of the daemon's, but at none of the machine's, which does not die with it. */
static void kill_somewhere(pid_t pid)
{
	siginfo_t is;

	for (;;) {
		kill(pid, SIGSTOP);
		if (waitid(P_PID, (id_t)pid, &is, WEXITED | WSTOPPED | WNOWAIT) < 0 ||
		    is.si_code != CLD_STOPPED || !atomic_load(&world->at_once))
			break;
		waitid(P_PID, (id_t)pid, &is, WSTOPPED);
		kill(pid, SIGCONT);
		usleep(10);
	}
	kill(pid, SIGKILL);
}

/* Killed after so many writes, or 0: from outside if it has threads. 0, or -EIO: it said why. */
static int one_life(bool threads, uint64_t crash_in)
{
	pid_t pid;
	int status;

	world->crash_in = crash_in;
	pid = begin_life(threads);
	if (threads) {
		usleep(200 + (useconds_t)(pid % 7) * 900);
		kill_somewhere(pid);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		world->crashes++;
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "FAILED: seed %llu, crash %llu (at: %s): the daemon ended by itself (status %#x)\n",
		(unsigned long long)world->seed, (unsigned long long)world->crashes,
		world->crashed_at, status);
	return -EIO;
}

static enum sim_sabotage sabotage;

static void make_world(uint64_t seed, int dirfd)
{
	memset(world, 0, sizeof(*world));
	world->seed = seed;
	world->random = seed * 0x2545f4914f6cdd1dULL + 1;
	world->zeroed_on_map = seed % 4 == 0;
	world->dirfd = dirfd;
	world->sabotage = sabotage;
	snprintf(world->crashed_at, sizeof(world->crashed_at), "none");
	/* Nobody has zeroed it. */
	for (uint32_t b = 0; b < SIM_BLOCKS; b++)
		world->content[b] = UINT64_MAX;
	unlinkat(dirfd, "blocks", 0);
	unlinkat(dirfd, "blocks.new", 0);
}

static int run_seed(uint64_t seed, int dirfd, uint64_t crashes, bool threads)
{
	make_world(seed, dirfd);
	while (world->crashes < crashes) {
		int ret = one_life(threads, threads ? 0 : some_writes());

		if (ret < 0)
			return ret;
		check_file();
		for (uint64_t i = sim_random(30); i; i--)
			module_guest_step();
		check_file();
	}
	return one_life(false, 0);	/* a last one that nobody kills */
}

struct sums {
	uint64_t crashes, writes, lent, moved, zeroed, retired;
};

static int run_all(uint64_t seed, int dirfd, uint64_t crashes, bool threads, struct sums *sum)
{
	for (uint64_t done = 0; done < crashes; seed++) {
		uint64_t n = crashes - done < RUN_CRASHES ? crashes - done : RUN_CRASHES;

		if (run_seed(seed, dirfd, n, threads) < 0)
			return -EIO;
		done += n;
		sum->crashes += world->crashes;
		sum->writes += world->writes;
		sum->lent += world->lent;
		sum->moved += world->moved;
		sum->zeroed += world->zeroed;
		sum->retired += world->retired;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "crashes", required_argument, NULL, 'c' },
		{ "threads", required_argument, NULL, 't' },
		{ "sabotage", required_argument, NULL, 'x' },
		{ 0 },
	};
	const struct rlimit no_core = { 0, 0 };
	uint64_t seed = 1, crashes = 0, threads = 0;
	char dir[] = "/dev/shm/memlease-pool-sim.XXXXXX";
	struct sums sum = { 0 };
	int opt, dirfd, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (opt == '?')
			return 2;
		if (opt == 'x')
			sabotage = strcmp(optarg, "early") == 0 ? SIM_EARLY : SIM_LAZY;
		else
			*(opt == 's' ? &seed : opt == 'c' ? &crashes : &threads) = value;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	dirfd = world != MAP_FAILED && mkdtemp(dir) ?
		open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dirfd < 0) {
		perror(dir);
		return 1;
	}
	ret = run_all(seed, dirfd, crashes, false, &sum);
	if (ret == 0)
		ret = run_all(seed + 1000000, dirfd, threads, true, &sum);
	unlinkat(dirfd, "blocks", 0);
	unlinkat(dirfd, "blocks.new", 0);
	rmdir(dir);
	if (ret < 0)
		return 1;
	printf("pool-sim: from seed %llu: %llu kills, %llu writes, %llu blocks lent, %llu moved, %llu zeroed, %llu retired: every invariant held\n",
	       (unsigned long long)seed, (unsigned long long)sum.crashes,
	       (unsigned long long)sum.writes, (unsigned long long)sum.lent,
	       (unsigned long long)sum.moved, (unsigned long long)sum.zeroed,
	       (unsigned long long)sum.retired);
	return 0;
}
