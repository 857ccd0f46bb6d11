// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clocks, random numbers and the observer. The observer integrates what it sees
 * itself: blocks in the fake backend's memory, and slots and guarantee as they
 * stand in the VM's record file, never the meter; but how far that had come when the daemon
 * died is the least that is billed of who ended before the next one came.
 */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIM_FAILED 3

struct world *world;

/* splitmix64 */
uint64_t sim_random(uint64_t n)
{
	uint64_t z = world->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) % n;
}

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: seed %llu, step %llu, after %llu crashes (last at: %s): ",
		(unsigned long long)world->seed, (unsigned long long)world->step,
		(unsigned long long)world->crashes, world->crashed_at);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(NULL);
	_exit(SIM_FAILED);
}

static uint64_t clock_boot(void *ctx)
{
	(void)ctx;
	return world->boot_ns;
}

static int64_t clock_wall(void *ctx)
{
	(void)ctx;
	return world->wall_ms;
}

const struct ml_clock sim_clock = { clock_boot, clock_wall, NULL };

static struct sim_seen *seen_of(const char *uuid)
{
	for (size_t i = 0; i < world->seen_count; i++) {
		if (strcmp(world->seen[i].uuid, uuid) == 0)
			return &world->seen[i];
	}
	SIM_MUST(world->seen_count < SIM_SEEN_MAX, "more VMs than a run can hold");
	snprintf(world->seen[world->seen_count].uuid, sizeof(world->seen[0].uuid),
		 "%.36s", uuid);
	return &world->seen[world->seen_count++];
}

const struct sim_seen *sim_seen_of(const char *uuid)
{
	return seen_of(uuid);
}

/* Valid until the next call. */
static const struct record *read_record(int dirfd, const char *name)
{
	static uint64_t buffer[4096];
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buffer, sizeof(buffer));

	SIM_MUST(n >= (ssize_t)sizeof(struct record) && n < (ssize_t)sizeof(buffer),
		 "record %s: %zd bytes", name, n);
	close(fd);
	return (const void *)buffer;
}

/* Blocks that the record has behind slots and the module has not: an error took them. */
static uint64_t gone(const struct record *rec, int region)
{
	const uint32_t *slots = rec->slots + (region == MEMLEASE_REGION_BOOT ? 0 :
					      rec->spec.boot_blocks);
	struct sim_region *r;
	char name[64];
	uint64_t n = 0;

	snprintf(name, sizeof(name), "%.36s.%s", rec->uuid,
		 region == MEMLEASE_REGION_BOOT ? "boot" : "window");
	r = sim_region_find(name);
	for (uint64_t i = 0; r && i < r->blocks; i++)
		n += slots[i] >> 30 == SLOT_RESIDENT && !sim_behind(r, i);
	return n;
}

static void observe_record(int dirfd, const char *name, uint64_t ns)
{
	const struct record *rec = read_record(dirfd, name);
	uint64_t committed = 0, unseen = sim_unseen(rec->uuid);
	struct sim_seen *seen = seen_of(rec->uuid);

	if (seen->over)
		return;
	seen->resident_ns += (ml_u128)(sim_resident(rec->uuid) - unseen) * ns;
	seen->unseen_ns += (ml_u128)unseen * ns;
	for (int i = 0; world->served && i < MEMLEASE_REGION_COUNT; i++)
		seen->unseen_ns += (ml_u128)gone(rec, i) * ns;
	if (rec->ended_ms >= 0 || rec->ending)
		return;
	for (uint64_t i = 0; i < rec->spec.boot_blocks + rec->window_blocks; i++)
		committed += (rec->slots[i] >> 30) != SLOT_VACANT;
	seen->committed_ns += (ml_u128)committed * ns;
	seen->guarantee_ns += (ml_u128)rec->spec.guarantee_blocks * ns;
}

static void each_record(void (*look)(int dirfd, const char *name, uint64_t arg), uint64_t arg)
{
	DIR *dir = opendir(world->state);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot && strcmp(dot, RECORD_SUFFIX) == 0)
			look(dirfd(dir), e->d_name, arg);
	}
	if (dir)
		closedir(dir);
}

static bool alive(const struct record *rec)
{
	for (int i = 0; i < SIM_QEMUS; i++) {
		if (rec->pid && world->qemu[i] == rec->pid)
			return !rec->ending;
	}
	return false;
}

static void rescue_one(int dirfd, const char *name, uint64_t percent)
{
	const struct record *rec = read_record(dirfd, name);
	struct sim_region *r;
	char boot[64];
	uint64_t slot;

	snprintf(boot, sizeof(boot), "%.36s.boot", rec->uuid);
	r = sim_region_find(boot);
	if (!r || !alive(rec) || !sim_chance(percent) || sim_present() >= SIM_POOL_BLOCKS)
		return;
	slot = sim_random(r->blocks);
	/* What it was reporting when the daemon died, the guest does not touch. */
	if (r->behind[slot] || r->unsure[slot])
		return;
	r->behind[slot] = SIM_FOREIGN;
	r->unseen[slot] = true;
	r->content[slot] = ++world->stamp;
	r->want[slot] = world->stamp;
	/*
	 * Behind a move that the crash cut off it may be taken for the moved block, and billed
	 * since that crash: earlier than now, if daemons have died while they came up.
	 */
	seen_of(rec->uuid)->unseen_ns += world->boot_ns - world->alive_ns;
}

static void ends_one(int dirfd, const char *name, uint64_t pid)
{
	const struct record *rec = read_record(dirfd, name);

	for (int i = 0; rec->pid == (int32_t)pid && i < SIM_REGIONS_MAX; i++) {
		if (strncmp(world->regions[i].name, rec->uuid, 36))
			continue;
		sim_close(&world->regions[i]);
		world->regions[i].live = false;
	}
}

void sim_qemu_ends(pid_t pid)
{
	each_record(ends_one, (uint64_t)pid);
}

/*
 * It is a child of the machine, which may have reaped it. One that the last daemon has killed may
 * not have got as far: who is told to stop does, or dies first.
 */
static bool has_died(pid_t pid)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return errno == ECHILD;
	if (info.si_pid == pid)
		return true;
	kill(pid, SIGSTOP);
	if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT) < 0 || info.si_code != CLD_STOPPED)
		return true;
	waitid(P_PID, (id_t)pid, &info, WSTOPPED);
	kill(pid, SIGCONT);
	return false;
}

/* What the last daemon had not metered yet it may have died with. */
static void from_to(ml_u128 *seen, ml_u128 *unknown, ml_u128 metered)
{
	if (metered >= *seen)
		return;
	*unknown += *seen - metered;
	*seen = metered;
}

static void see_end(int dirfd, const char *name, uint64_t arg)
{
	const struct record *rec = read_record(dirfd, name);
	const struct meter_sums *metered = &meter_now(&rec->meter)->total;
	struct sim_seen *seen = seen_of(rec->uuid);

	(void)arg;
	if (seen->over || rec->ended_ms >= 0 || !(rec->ending || (rec->pid && has_died(rec->pid))))
		return;
	seen->over = true;
	from_to(&seen->resident_ns, &seen->unseen_ns, metered->resident_ns);
	from_to(&seen->committed_ns, &seen->unknown_committed_ns, metered->committed_ns);
	from_to(&seen->guarantee_ns, &seen->unknown_guarantee_ns, metered->guarantee_ns);
}

void sim_see_ends(void)
{
	each_record(see_end, 0);
}

void sim_rescue(void)
{
	if (world->served)
		return;
	each_record(rescue_one, 20);
}

void sim_pass(uint64_t ns)
{
	each_record(observe_record, ns);
	world->boot_ns += ns;
	world->wall_ms = world->wall_ms + (int64_t)(world->boot_ns / 1000000) -
			 (int64_t)((world->boot_ns - ns) / 1000000);
}

void sim_jump_wall(int64_t ms)
{
	world->wall_ms += ms;
}

/* The same, where the module may have taken blocks from what was offered to it. */
static void check_mapped_served(void)
{
	uint64_t words[FAKE_BLOCKS_MAX];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/blocks", world->state);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = pread(fd, words, world->module.blocks * sizeof(words[0]), 4096);
	close(fd);
	SIM_MUST(n == (ssize_t)(world->module.blocks * sizeof(words[0])), "block table: %zd bytes", n);
	for (uint32_t b = 0; b < world->module.blocks; b++) {
		enum block_state s = block_unpack(words[b]).state;
		uint64_t owner = world->module.owner[b];

		SIM_MUST(!owner || owner >= FAKE_MODULE || s == BLOCK_LENT || s == BLOCK_OFFERED ||
			 s == BLOCK_MOVING, "block %u is %s by the table, and behind a slot", b,
			 block_state_name(s));
		SIM_MUST(s != BLOCK_CLEAN || !world->module.content[b],
			 "block %u is clean by the table, and is not", b);
	}
	for (uint32_t i = world->module.supply_tail; i != world->module.rings.supply_head &&
	     world->module.rings.supply_head - i <= MEMLEASE_POOL_SUPPLY; i++) {
		uint32_t b = world->module.rings.supply[i % MEMLEASE_POOL_SUPPLY];

		SIM_MUST(block_unpack(words[b]).state == BLOCK_OFFERED ||
			 block_unpack(words[b]).state == BLOCK_RETIRED,
			 "block %u is in the supply and %s", b,
			 block_state_name(block_unpack(words[b]).state));
	}
}

void sim_check_mapped(void)
{
	uint64_t words[FAKE_BLOCKS_MAX];
	char path[128];
	ssize_t n;
	int fd;

	if (world->served) {
		check_mapped_served();
		return;
	}

	snprintf(path, sizeof(path), "%s/blocks", world->state);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;		/* it died before it made one */
	n = pread(fd, words, SIM_POOL_BLOCKS * sizeof(words[0]), 4096);
	close(fd);
	SIM_MUST(n == (ssize_t)(SIM_POOL_BLOCKS * sizeof(words[0])), "block table: %zd bytes", n);
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; r->name[0] && s < r->blocks; s++) {
			uint32_t b = r->behind[s];

			if (b && b != SIM_FOREIGN && block_unpack(words[b - 1]).state != BLOCK_LENT)
				sim_fail("block %u is free and mapped at %s slot %llu", b - 1,
					 r->name, (unsigned long long)s);
		}
	}
}
