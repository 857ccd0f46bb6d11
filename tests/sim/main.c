// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease-sim: hosts, guests, QEMUs, clocks and crashes from one seed.
 *
 *   memlease-sim [--seed N] [--seeds COUNT] [--steps M] [--served] [--sabotage keep|share]
 *
 * With --served the memory is the backend `reserved` on a stand-in for the host's
 * module, which serves touches by itself, at any time, and while no daemon runs.
 * The parent is the machine. Each life of the daemon is a child that dies for
 * good between any two writes of what survives it; the next one must find its way.
 * Between two lives time passes and QEMUs may end. On failure the seed is printed;
 * the same seed makes the same run. --sabotage has the memory keep a block that it
 * was to give back, or the lender hand one out twice, to show that it is noticed.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../host/base/log.h"
#include "world.h"

#define SIM_CRASHED 2
#define S_NS 1000000000ULL
#define WRITES_PER_LIFE 300	/* at most, before the daemon dies */

static int rm_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void fill_qemus(void)
{
	for (int i = 0; i < SIM_QEMUS; i++) {
		pid_t pid;

		if (world->qemu[i])
			continue;
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		world->qemu[i] = pid;	/* not by the child: the world is shared */
	}
}

static void kill_qemu(int i)
{
	sim_qemu_ends(world->qemu[i]);
	kill(world->qemu[i], SIGKILL);
	waitpid(world->qemu[i], NULL, 0);
	world->qemu[i] = 0;
	world->qemu_used[i] = false;
}

/* While no daemon runs: time passes, QEMUs back what they need, one may end. */
static void between_lives(void)
{
	static const uint64_t most_ns[] = { 1, 1000000, 2 * S_NS, 100 * S_NS, 10000 * S_NS };
	int i = (int)sim_random(SIM_QEMUS);

	sim_check_mapped();
	sim_follow_windows();
	sim_see_ends();
	sim_rescue();
	for (uint64_t n = sim_random(12); world->served && n; n--) {
		sim_task_touches();
		sim_pass(sim_random(most_ns[sim_random(3)]));
	}
	sim_pass(sim_random(most_ns[sim_random(5)]));
	if (world->qemu[i] && world->qemu_used[i] && sim_chance(15)) {
		kill_qemu(i);
		sim_see_ends();
		sim_pass(sim_random(most_ns[sim_random(5)]));
	}
	/* Those that the last daemon killed. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	fill_qemus();
}

/* 0: the run is through. */
static int one_life(void)
{
	int status;
	pid_t pid;

	world->crash_in = sim_chance(90) ? 1 + sim_random(sim_chance(30) ? 40 : WRITES_PER_LIFE) : 0;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sim_life();
		exit(0);	/* and not _exit(): what leaks is found here */
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_CRASHED) {
		world->crashes++;
		return 1;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "FAILED: seed %llu, step %llu, crash %llu (at: %s): the daemon ended by itself (status %#x)\n",
		(unsigned long long)world->seed, (unsigned long long)world->step,
		(unsigned long long)world->crashes, world->crashed_at, status);
	return -EIO;
}

static enum sim_sabotage sabotage;
static bool served;

static int make_world(uint64_t seed, uint64_t steps)
{
	memset(world, 0, sizeof(*world));
	world->seed = seed;
	world->random = seed * 0x2545f4914f6cdd1dULL + 1;
	world->steps = steps;
	world->sabotage = sabotage;
	world->served = served;
	world->boot_ns = 100 * S_NS + sim_random(S_NS);
	world->wall_ms = 1750000000000LL + (int64_t)sim_random(100000000);
	snprintf(world->crashed_at, sizeof(world->crashed_at), "none");
	snprintf(world->dir, sizeof(world->dir), "/dev/shm/memlease-sim.XXXXXX");
	if (!mkdtemp(world->dir)) {
		snprintf(world->dir, sizeof(world->dir), "/tmp/memlease-sim.XXXXXX");
		if (!mkdtemp(world->dir))
			return -errno;
	}
	snprintf(world->state, sizeof(world->state), "%s/state", world->dir);
	snprintf(world->ledger, sizeof(world->ledger), "%s/ledger.db", world->dir);
	return 0;
}

static int run_seed(uint64_t seed, uint64_t steps)
{
	int ret = make_world(seed, steps);

	if (ret < 0) {
		fprintf(stderr, "scratch directory: %s\n", strerror(-ret));
		return ret;
	}
	fill_qemus();
	while ((ret = one_life()) > 0)
		between_lives();
	for (int i = 0; i < SIM_QEMUS; i++) {
		if (world->qemu[i])
			kill_qemu(i);
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (ret < 0)
		fprintf(stderr, "seed %llu failed; run it again: memlease-sim --seed %llu --steps %llu%s\n",
			(unsigned long long)seed, (unsigned long long)seed,
			(unsigned long long)steps, served ? " --served" : "");
	nftw(world->dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	return ret;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'c' },
		{ "steps", required_argument, NULL, 'm' },
		{ "sabotage", required_argument, NULL, 'x' },
		{ "served", no_argument, NULL, 'd' },
		{ 0 },
	};
	const struct rlimit no_core = { 0, 0 };
	uint64_t seed = 1, seeds = 1, steps = 1000, moves = 0, crashes = 0, waits = 0, vms = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (opt == 's')
			seed = value;
		else if (opt == 'c')
			seeds = value;
		else if (opt == 'm')
			steps = value;
		else if (opt == 'd')
			served = true;
		else if (opt == 'x')
			sabotage = strcmp(optarg, "keep") == 0 ? SIM_KEEP : SIM_SHARE;
		else
			return 2;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	ml_log_set_level(ML_LOG_ERR);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (uint64_t i = 0; i < seeds; i++) {
		if (run_seed(seed + i, steps) < 0)
			return 1;
		moves += world->moves;
		crashes += world->crashes;
		waits += world->waited;
		vms += world->seen_count;
	}
	printf("memlease-sim: %llu seeds from %llu, %llu steps, %llu crashes, %llu moves of blocks, %llu waits, %llu VMs: every invariant held\n",
	       (unsigned long long)seeds, (unsigned long long)seed,
	       (unsigned long long)(seeds * steps), (unsigned long long)crashes,
	       (unsigned long long)moves, (unsigned long long)waits, (unsigned long long)vms);
	return 0;
}
