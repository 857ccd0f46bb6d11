// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-view BASE BYTES: what the daemon sees of the pool: a block that is lent it can neither
 * read nor write, though it could a moment ago, and can again when the block was given back.
 * By huge entries and by single pages. Claims the carve-out if that was not done.
 */
#include "pool-window.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#define WORD 8
#define RACE_S 4		/* of each race */
#define RACE_ROUNDS 20		/* that it has at least, however slow the machine */
#define LOOKS 300		/* at a block in a round */
#define WRITERS 2

static char *view;		/* the mapping of the pool that is tried */
static const char *how;

static char *seen(uint32_t block)
{
	return view + block * LAB_BLOCK;
}

/* The daemon writes to a block, in two pages. */
static void fill(uint32_t block, uint64_t value)
{
	*(volatile uint64_t *)seen(block) = value;
	*(volatile uint64_t *)(seen(block) + 8192) = value;
}

static bool refused(volatile void *at)
{
	uint64_t value;

	return lab_read(at, &value) == SIGBUS && lab_bus_code == BUS_ADRERR &&
	       lab_write(at, 1) == SIGBUS && lab_bus_code == BUS_ADRERR;
}

/* An ordinary bus error, wherever it was touched before or not, and nothing for the kernel either. */
static bool hidden(uint32_t block)
{
	int zero = open("/dev/zero", O_RDONLY);
	bool failed = read(zero, seen(block), 4096) < 0 && errno == EFAULT;

	close(zero);
	return failed && refused(seen(block)) && refused(seen(block) + 8192) &&
	       refused(seen(block) + LAB_BLOCK - WORD);
}

static bool holds(uint32_t block, uint64_t value)
{
	uint64_t got[2] = { ~value, ~value };

	return !lab_read(seen(block), &got[0]) && !lab_read(seen(block) + 8192, &got[1]) && got[0] == value &&
	       got[1] == value;
}

static void take(unsigned long cmd, uint32_t slot, uint32_t block)
{
	uint32_t got = LAB_NONE;

	ok(lab_change(cmd, window, slot, 1, 0, &got) == 1 && got == block, "%s: it is given back", how);
}

static void test_map(void)
{
	uint64_t value;

	begin("map");
	lab_commit(window, 0, 2);
	is(lab_map(window, 0, 20), 0, "a block is lent");
	ok(hidden(20), "%s: the daemon cannot see it", how);
	ok(!lab_read(seen(19), &value) && !lab_read(seen(21), &value), "%s: but those beside it", how);
	fill(22, PATTERN);
	is(lab_map(window, 1, 22), 0, "one that it has just looked at");
	ok(hidden(22), "%s: it sees no more", how);
	ok(peek(mem + LAB_BLOCK) == PATTERN, "the VM does");
	lab_write(mem + LAB_BLOCK, PATTERN + 1);
	lab_write(mem + LAB_BLOCK + 8192, PATTERN + 1);
	ok(hidden(22), "%s: and writes to it alone", how);
	take(MEMLEASE_POOL_UNMAP, 1, 22);
	ok(holds(22, PATTERN + 1), "%s: then the daemon sees what is there", how);
	fill(22, PATTERN + 2);
	ok(hidden(20) && holds(22, PATTERN + 2), "%s: and writes, to this one only", how);
	is(lab_map(window, 2, 22), -EPERM, "a block that is not lent after all");
	is(lab_move(window, 1, 22), -EAGAIN, "nor moved to");
	ok(holds(22, PATTERN + 2), "%s: is seen as before", how);
	end();
	ok(!lab_read(seen(20), &value), "%s: and so is one whose window is gone", how);
}

static void test_touch(void)
{
	begin("touch");
	lab_commit(window, 0, 3);
	fill(30, PATTERN);
	lab_supply(30);
	ok(holds(30, PATTERN), "%s: what lies in the supply is seen", how);
	ok(peek(mem) == PATTERN && hidden(30), "%s: until it is touched", how);
	take(MEMLEASE_POOL_COMMIT, 0, 30);
	ok(holds(30, PATTERN), "%s: and again afterwards", how);
	/* Long enough for the module to have emptied the view. */
	fill(31, PATTERN + 1);
	lab_nap(300);
	lab_supply(31);
	ok(peek(mem + LAB_BLOCK) == PATTERN + 1 && hidden(31), "%s: the same a while after the last look", how);
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 1, 1, 0, &(uint32_t){ 0 }), 1, "it is given back");
	ok(holds(31, PATTERN + 1), "%s: and seen", how);
	end();
}

static void test_move(void)
{
	begin("move");
	lab_commit(window, 0, 1);
	fill(40, PATTERN);
	lab_map(window, 0, 40);
	fill(41, PATTERN + 1);
	is(lab_move(window, 0, 41), 40, "a block is moved");
	ok(hidden(41), "%s: the daemon does not see where to", how);
	ok(holds(40, PATTERN), "%s: but from where", how);
	fill(40, PATTERN + 2);
	ok(peek(mem) == PATTERN, "which is no more the VM's");
	is(lab_move(window, 0, 40), 41, "it is moved back");
	ok(hidden(40) && holds(41, PATTERN), "%s: and the daemon sees the other", how);
	end();
}

/* What the daemon may do to its mapping changes nothing of that. */
static void test_rights(void)
{
	uint64_t value;

	begin("rights");
	lab_commit(window, 0, 1);
	mprotect(view, 100 * LAB_BLOCK, PROT_READ);
	lab_read(seen(50), &value);
	mprotect(view, 100 * LAB_BLOCK, PROT_READ | PROT_WRITE);
	fill(50, PATTERN);
	lab_map(window, 0, 50);
	ok(hidden(50), "%s: rights that are taken and given show nothing", how);
	take(MEMLEASE_POOL_UNMAP, 0, 50);
	ok(holds(50, PATTERN), "%s: and hide nothing", how);
	end();
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* A touch does not pay for what the daemon looked at a while before it. */
static void test_by_itself(void)
{
	long again = 0, later, before;

	for (int i = 0; i < 50 && !again; i++) {
		fill(60, i);
		before = faults();
		fill(60, i + 1);
		again += faults() == before;
		lab_nap(30);
	}
	ok(again, "%s: what is looked at twice in a moment is there", how);
	fill(60, 1);
	lab_nap(500);
	before = faults();
	fill(60, 2);
	later = faults() - before;
	ok(later > 0, "%s: a while later it went out of the view by itself (%ld faults)", how, later);
}

/* --- races --------------------------------------------------------------------------------- */

#define RACED 70		/* the block */

static volatile bool stop;

struct writer {
	pthread_t thread;
	uint32_t at;		/* of its word */
	volatile long written, refused;
};

/* A thread of the daemon that writes to the block whenever it can. */
static void *write_view(void *arg)
{
	struct writer *w = arg;
	uint64_t n = 0;

	while (!stop) {
		if (lab_write(seen(RACED) + w->at, ++n))
			w->refused++;
		else
			w->written++;
	}
	return NULL;
}

/* Another of the VM's, so that two fault at a time, and one of them perhaps out of its wait. */
static void *touch_too(void *arg)
{
	(void)arg;
	while (!stop)
		lab_write(mem + LAB_BLOCK / 2, 1);
	return NULL;
}

/* The block is the window's. How often was it seen to change under the VM's hands? */
static long watch(const struct writer *writers)
{
	const uint64_t own = PATTERN;
	long changed = 0;

	for (int i = 0; i < WRITERS; i++)
		lab_write(mem + writers[i].at, own);
	for (int look = 0; look < LOOKS; look++) {
		for (int i = 0; i < WRITERS; i++)
			changed += *(volatile uint64_t *)(mem + writers[i].at) != own;
		if (look % 100 == 0)
			sched_yield();
	}
	return changed;
}

/* Until each has written once more: then all have an entry of the block. */
static void await_writers(const struct writer *writers)
{
	long before[WRITERS];
	double over = lab_seconds() + 5;

	for (int i = 0; i < WRITERS; i++)
		before[i] = writers[i].written;
	for (int i = 0; i < WRITERS; i++) {
		while (writers[i].written == before[i] && lab_seconds() < over)
			sched_yield();
	}
}

static void test_race(void)
{
	struct writer writers[WRITERS] = { { .at = 0 }, { .at = 8192 } };
	double over = lab_seconds() + RACE_S;
	long changed = 0, failed = 0, rounds = 0;
	pthread_t other;
	uint32_t block;

	begin("race");
	lab_commit(window, 0, 1);
	stop = false;
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&writers[i].thread, NULL, write_view, &writers[i]);
	pthread_create(&other, NULL, touch_too, NULL);
	for (; lab_seconds() < over || rounds < RACE_ROUNDS; rounds++) {
		/* Else the block is lent while they are at it: after the last SIGBUS, before the entry. */
		if (rounds & 2)
			await_writers(writers);
		if (rounds % 2)
			lab_supply(RACED);
		else
			failed += !!lab_map(window, 0, RACED);
		changed += watch(writers);
		failed += lab_change(MEMLEASE_POOL_UNMAP, window, 0, 1, 0, &block) != 1 || block != RACED;
	}
	stop = true;
	lab_map(window, 0, RACED);
	pthread_join(other, NULL);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		ok(writers[i].written && writers[i].refused, "%s: writer %d wrote %ld times, and was refused %ld times",
		   how, i, writers[i].written, writers[i].refused);
	}
	ok(!failed && rounds >= RACE_ROUNDS, "%s: the block was lent and given back %ld times", how, rounds);
	ok(!changed, "%s: and never written to while it was lent (%ld changes seen)", how, changed);
	end();
}

/* --------------------------------------------------------------------------------------------- */

static void test_all(const char *name, char *mapping)
{
	how = name;
	view = mapping;
	test_map();
	test_touch();
	test_move();
	test_rights();
	test_by_itself();
	test_race();
}

/* The next daemon does not see either what the last one's windows have. */
static void test_next_daemon(void)
{
	how = "huge";
	view = lab_view;
	begin("next");
	lab_commit(window, 0, 1);
	fill(80, PATTERN);
	lab_map(window, 0, 80);
	lab_open_again();
	view = lab_view;
	ok(hidden(80) && peek(mem) == PATTERN, "the next daemon does not see what is lent");
	take(MEMLEASE_POOL_UNMAP, 0, 80);
	ok(holds(80, PATTERN), "but what is given back");
	end();
}

/* A mapping of the pool that cannot have huge entries. */
static char *map_small(void)
{
	char *place = mmap(NULL, (lab_blocks + 2) * LAB_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			   -1, 0);

	place = (char *)(((uintptr_t)place + LAB_BLOCK) & ~(LAB_BLOCK - 1)) + 4096;
	place = mmap(place, lab_blocks * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, lab_ctl,
		     MEMLEASE_POOL_OFF_BLOCKS);
	if (place == MAP_FAILED)
		lab_die("cannot map the pool once more");
	return place;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		lab_die("usage: pool-view BASE BYTES");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	test_next_daemon();
	test_all("huge", lab_view);
	test_all("single pages", map_small());
	return lab_failures ? 1 : 0;
}
