// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-touch BASE BYTES: what a VM's touches of a window do, and what the daemon
 * hears of them: vacant slots, the supply and its nonsense, moves under writers,
 * memory errors. Claims the carve-out if that was not done.
 */
#include "pool-window.h"

#include <poll.h>
#include <pthread.h>

#define WORD 8

/* KiB of page tables that this process has. */
static long page_tables_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPTE: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

/* --- vacant slots ------------------------------------------------------------------ */

static void expect_violation(volatile void *at, uint32_t slot, const char *how)
{
	struct memlease_touch t = {};

	lab_forget_touches();
	is(-lab_write(at, PATTERN), -SIGBUS, how);
	ok(lab_await(MEMLEASE_TOUCH_VIOLATION, &t) && t.window == window && t.slot == slot && t.pid == (uint32_t)getpid(),
	   "and is told, with window, slot and process");
}

static void test_vacant(void)
{
	char *odd;
	int zero = open("/dev/zero", O_RDONLY);

	begin("vacant");
	ok(!peek(mem + 3 * LAB_BLOCK), "a vacant slot reads as zeros");
	expect_violation(mem + 4 * LAB_BLOCK, 4, "a write to one ends in SIGBUS");
	expect_violation(mem + 3 * LAB_BLOCK, 3, "also after it was read");
	ok(read(zero, mem + 3 * LAB_BLOCK, 4096) < 0 && errno == EFAULT, "the kernel does not write to it either");
	ok(!mprotect(mem, SLOTS * LAB_BLOCK, PROT_READ) && !mprotect(mem, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE),
	   "rights are taken and given");
	expect_violation(mem + 3 * LAB_BLOCK, 3, "a write ends in SIGBUS then, too");

	/* Single pages: a mapping that cannot have huge ones. */
	odd = mmap(NULL, 3 * LAB_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	odd = (char *)(((uintptr_t)odd + LAB_BLOCK) & ~(LAB_BLOCK - 1)) + 4096;
	odd = mmap(odd, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, window_fd, 5 * LAB_BLOCK);
	ok(odd != MAP_FAILED && !peek(odd + 8192), "single pages read as zeros");
	expect_violation(odd + 8192, 5, "a write to one ends in SIGBUS");
	expect_violation(odd + 4096, 5, "also where it was not read");
	mprotect(odd, LAB_BLOCK, PROT_READ);
	mprotect(odd, LAB_BLOCK, PROT_READ | PROT_WRITE);
	expect_violation(odd + 8192, 5, "and after rights were taken and given");
	is(lab_commit(window, 5, 1), 0, "the slot is committed");
	lab_supply(7);
	*(uint64_t *)lab_block(7) = 0;
	is(-lab_write(odd + 8192, PATTERN), 0, "then the write is right");
	mprotect(odd, LAB_BLOCK, PROT_READ);
	ok(peek(odd + 8192) == PATTERN, "it is read where there is no right to write");
	mprotect(odd, LAB_BLOCK, PROT_READ | PROT_WRITE);
	is(-lab_write(odd + 8192, PATTERN + 1), 0, "and written to where there is again");
	ok(peek(mem + 5 * LAB_BLOCK + 8192) == PATTERN + 1, "the other mapping shows it");
	lab_forget_touches();
	for (int i = 0; i < 1000; i++)
		lab_write(mem, 1);
	expect_once(MEMLEASE_TOUCH_VIOLATION, "a thousand such writes are one record");
	for (int i = 0; i < 100; i++)
		close(lab_open_window("vacant"));
	ok(!lab_touch(&(struct memlease_touch){}), "files that come and go while others stay are none");
	ok(!peek(mem + 4 * LAB_BLOCK) && !peek(mem + 3 * LAB_BLOCK), "vacant slots are zeros as before");
	munmap(odd, LAB_BLOCK);
	close(zero);
	end();
}

/* --- touches, and supply --------------------------------------------------------------- */

static void test_touch(void)
{
	struct memlease_touch t = {};
	uint32_t blocks[SLOTS], i, wrong = 0;
	char *other;
	long before;

	begin("touch");
	is(lab_commit(window, 0, 32), 0, "half is committed");
	for (i = 0; i < 32; i++) {
		*(uint64_t *)lab_block(100 + i) = PATTERN + i;
		lab_supply(100 + i);
	}
	before = page_tables_kib();
	ok(peek(mem) == PATTERN, "a touch gets the supply's first block");
	ok(lab_await(MEMLEASE_TOUCH_TAKEN, &t) && t.window == window && !t.slot && t.block == 100 && t.time_ns &&
	   t.pid == (uint32_t)getpid(), "and is told");
	ok(lab_slot(window, 0) == (MEMLEASE_SLOT_RESIDENT | 100 << 2), "the slot's word says so");
	for (i = 1; i < 32; i++) {
		wrong += lab_write(mem + i * LAB_BLOCK + WORD, i) ||
			 *(uint64_t *)(mem + i * LAB_BLOCK) != PATTERN + i ||
			 lab_slot(window, i) != (MEMLEASE_SLOT_RESIDENT | (100 + i) << 2);
	}
	ok(!wrong, "so do writes");
	ok(page_tables_kib() - before <= 4 * 4, "by entries of 2 MiB: page tables grew by %ld KiB only",
	   page_tables_kib() - before);
	other = lab_map_window(window_fd, SLOTS);
	for (i = 1; i < 32; i++)
		wrong += *(volatile uint64_t *)(other + i * LAB_BLOCK + WORD) != i;
	ok(!wrong, "and another mapping shows the same");
	munmap(other, SLOTS * LAB_BLOCK);
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 8, 8, 0, blocks), 8, "8 slots are unmapped");
	ok(blocks[0] == 108 && blocks[7] == 115, "their blocks come back");
	for (i = 0; i < 8; i++)
		wrong += *(uint64_t *)(lab_block(blocks[i]) + WORD) != 8 + i;
	ok(!wrong, "with what was written");
	for (i = 0; i < 8; i++)
		lab_supply(blocks[7 - i]);
	ok(peek(mem + 8 * LAB_BLOCK) == PATTERN + 15, "the next touch gets another block");
	is(lab_change(MEMLEASE_POOL_COMMIT, window, 8, 8, 0, blocks), 1, "which goes with the slot's right");
	expect_violation(mem + 8 * LAB_BLOCK, 8, "and a write is refused again");
	ok(!peek(mem + 8 * LAB_BLOCK), "it reads as zeros again");
	end();
}

static void test_two(void)
{
	int status, in[2], out[2];
	char c = 0;
	pid_t pid;

	begin("two");
	lab_commit(window, 0, 1);
	*(uint64_t *)lab_block(20) = PATTERN;
	*(uint64_t *)lab_block(21) = PATTERN + 1;
	lab_map(window, 0, 20);
	if (pipe(in) || pipe(out))
		lab_die("pipe");
	pid = fork();
	if (!pid) {
		uint64_t value = 0;

		if (lab_read(mem, &value) != SIGSEGV)
			_exit(1);
		mem = lab_map_window(lab_open_window("two"), SLOTS);
		if (*(volatile uint64_t *)mem != PATTERN || write(out[1], &c, 1) != 1 || read(in[0], &c, 1) != 1)
			_exit(2);
		_exit(*(volatile uint64_t *)mem == PATTERN + 1 ? 0 : 3);
	}
	ok(peek(mem) == PATTERN && read(out[0], &c, 1) == 1, "two processes see a block");
	uint32_t block;
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 0, 1, 0, &block), 1, "it is taken away");
	lab_map(window, 0, 21);
	ok(peek(mem) == PATTERN + 1 && write(in[1], &c, 1) == 1, "one sees the next");
	waitpid(pid, &status, 0);
	ok(!status, "so does the other, which had not inherited the mapping (%#x)", status);
	end();
}

static void test_nonsense(void)
{
	uint64_t bad = lab_rings->bad_supply, overflow = lab_rings->overflow;
	uint32_t head, tail;
	struct memlease_touch t;

	begin("nonsense");
	lab_commit(window, 0, 8);
	lab_map(window, 0, 30);
	lab_put(0);
	lab_put(30);
	lab_put(lab_blocks);
	lab_put(LAB_NONE);
	lab_put(31);
	is(-lab_write(mem + LAB_BLOCK, 1), 0, "a touch finds the good one among bad blocks");
	ok(lab_await(MEMLEASE_TOUCH_TAKEN, &t) && t.block == 31 && lab_rings->bad_supply == bad + 4,
	   "which are counted");
	lab_put(31);
	lab_put(32);
	is(-lab_write(mem + 2 * LAB_BLOCK, 1), 0, "one that was given twice");
	ok(lab_slot(window, 2) == (MEMLEASE_SLOT_RESIDENT | 32 << 2), "is lent once");

	lab_forget_touches();
	tail = lab_rings->touches_tail;
	lab_rings->touches_tail = tail + 1000;
	lab_put(33);
	is(-lab_write(mem + 3 * LAB_BLOCK, 1), 0, "a tail before the head stops no touch");
	ok(lab_rings->overflow > overflow, "but its record is dropped, and counted");
	lab_rings->touches_tail = tail;
	lab_put(34);
	is(-lab_write(mem + 4 * LAB_BLOCK, 1), 0, "and the next");
	ok(lab_await(MEMLEASE_TOUCH_TAKEN, &t) && t.block == 34, "is told again");

	head = lab_rings->supply_head;
	lab_rings->supply_head = head + 0x40000000;
	pid_t pid = fork();
	if (!pid) {
		mem = lab_map_window(lab_open_window("nonsense"), SLOTS);
		_exit(lab_write(mem + 5 * LAB_BLOCK, 1));
	}
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t) && t.slot == 5 && t.pid == (uint32_t)pid,
	   "a head that is no head is an empty supply");
	lab_rings->supply_head = head - 5;
	lab_nap(300);
	ok(!waitpid(pid, NULL, WNOHANG), "and so is one below the tail");
	lab_rings->supply_head = head;
	lab_supply(35);
	int status;
	waitpid(pid, &status, 0);
	ok(!status, "a good one ends the wait");
	end();
}

/* --- moves ---------------------------------------------------------------------------------- */

#define WRITERS 3

static volatile bool stop;
static volatile uint64_t torn;

/* Two words of a page, the second written after the first: no reader may see it ahead. */
struct pair {
	volatile uint64_t *first, *second;
	uint64_t written;
};

static void *write_pairs(void *arg)
{
	struct pair *p = arg;

	while (!stop) {
		p->written++;
		*p->first = p->written;
		*p->second = p->written;
		if (*p->first != p->written || *p->second != p->written)
			torn++;
	}
	return NULL;
}

static void *read_pairs(void *arg)
{
	struct pair *pairs = arg;

	while (!stop) {
		for (int i = 0; i < WRITERS; i++) {
			uint64_t second = *pairs[i].second, first = *pairs[i].first;

			if (first < second)
				torn++;
		}
	}
	return NULL;
}

static void test_move(void)
{
	struct pair pairs[WRITERS];
	pthread_t threads[WRITERS + 1];
	uint32_t i, moves = 0, other = 51;
	int old;

	begin("move");
	lab_commit(window, 0, 1);
	memset(lab_block(50), 0x55, LAB_BLOCK);
	memset(lab_block(51), 0xaa, LAB_BLOCK);
	lab_map(window, 0, 50);
	for (i = 0; i < WRITERS; i++) {
		char *at = mem + i * (LAB_BLOCK / WRITERS / 4096 * 4096);

		pairs[i] = (struct pair){ .first = (void *)at, .second = (void *)(at + 4096 - WORD) };
		*pairs[i].first = *pairs[i].second = 0;
	}
	stop = false;
	for (i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, write_pairs, &pairs[i]);
	pthread_create(&threads[WRITERS], NULL, read_pairs, pairs);
	for (i = 0; i < 300; i++) {
		old = lab_move(window, 0, other);
		if (old < 0)
			break;
		/* Nobody may write to it any more: what is there now stays. */
		memset(lab_block(old), 0x77, LAB_BLOCK);
		other = old;
		moves++;
	}
	stop = true;
	for (i = 0; i <= WRITERS; i++)
		pthread_join(threads[i], NULL);
	ok(moves == 300, "300 moves under writers (%u)", moves);
	ok(!torn, "nobody saw a torn page (%llu)", (unsigned long long)torn);
	for (i = 0; i < LAB_BLOCK && lab_block(other)[i] == 0x77; i++)
		;
	ok(i == LAB_BLOCK, "nobody wrote to a block after it was taken");
	for (i = 0; i < WRITERS; i++)
		ok(*pairs[i].first == pairs[i].written && *pairs[i].second == pairs[i].written,
		   "writer %u finds its last of %llu values", i, (unsigned long long)pairs[i].written);
	ok((unsigned char)mem[LAB_BLOCK - 1] == 0x55, "and the rest of the block came along");
	end();
}

/* --- reading a window as a file ------------------------------------------------------------------ */

static bool zeros(const char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i])
			return false;
	return true;
}

/* Slot 0 is resident, 1 committed, 2 vacant, 3 lost. */
static void test_read(void)
{
	char *got = malloc(3 * LAB_BLOCK);
	uint64_t word = PATTERN;
	uint32_t broken = 71;

	begin("read");
	lab_commit(window, 0, 2);
	lab_commit(window, 3, 1);
	memset(lab_block(70), 0, LAB_BLOCK);
	lab_map(window, 0, 70);
	lab_map(window, 3, broken);
	is(-lab_write(mem + LAB_BLOCK - sizeof(word), PATTERN), 0, "a slot is in use");
	is(call(MEMLEASE_POOL_RETIRE, &broken), 0, "the block of another breaks");
	lab_supply(72);
	lab_forget_touches();
	memset(got, 0xff, 3 * LAB_BLOCK);
	ok(pread(window_fd, got, 3 * LAB_BLOCK, 0) == 3 * (ssize_t)LAB_BLOCK, "a window can be read as a file");
	ok(zeros(got, LAB_BLOCK - sizeof(word)) && !memcmp(got + LAB_BLOCK - sizeof(word), &word, sizeof(word)),
	   "which shows what a slot holds");
	ok(zeros(got + LAB_BLOCK, 2 * LAB_BLOCK), "and zeros where nothing is, committed or not");
	memset(got, 0xff, 16);
	ok(pread(window_fd, got, 16, LAB_BLOCK - sizeof(word)) == 16 && !memcmp(got, &word, sizeof(word)) &&
	   zeros(got + sizeof(word), 16 - sizeof(word)), "also some bytes over the edge of two slots");
	ok(lab_slot(window, 1) == MEMLEASE_SLOT_COMMITTED && lab_slot(window, 2) == MEMLEASE_SLOT_VACANT &&
	   lab_supply_left() == 1 && !lab_touch(&(struct memlease_touch){}), "no slot changes by it, and nobody is told");
	ok(pread(window_fd, got, 16, 3 * LAB_BLOCK) < 0 && errno == EIO, "a lost slot cannot be read");
	is(pread(window_fd, got, 3 * LAB_BLOCK, (SLOTS - 1) * LAB_BLOCK), LAB_BLOCK, "a read ends where the window does");
	is(pread(window_fd, got, 16, SLOTS * LAB_BLOCK), 0, "and behind it there is nothing");
	ok(pread(window_fd, mem + 2 * LAB_BLOCK, 4096, 0) < 0 && errno == EFAULT, "nor is a vacant slot written to by it");
	is(pread(window_fd, mem + LAB_BLOCK, LAB_BLOCK, 0), LAB_BLOCK, "a committed one is, by who reads into his window");
	ok(peek(mem + 2 * LAB_BLOCK - sizeof(word)) == PATTERN, "and has it then");
	ok(pwrite(window_fd, got, 16, 0) < 0 && errno == EINVAL, "a window cannot be written to as a file");
	free(got);
	end();
}

/* --- memory errors ------------------------------------------------------------------------------ */

static int retire(uint32_t block)
{
	return call(MEMLEASE_POOL_RETIRE, &block);
}

static void test_retire(void)
{
	struct memlease_pool_info before, after;
	struct memlease_touch t = {};
	uint64_t value, bad = lab_rings->bad_supply;
	uint32_t blocks[SLOTS];

	begin("retire");
	call(MEMLEASE_POOL_INFO, &before);
	lab_commit(window, 0, 8);
	lab_map(window, 2, 60);
	ok(!lab_write(mem + 2 * LAB_BLOCK, 1), "a slot is in use");
	is(retire(60), 0, "its block breaks");
	ok(lab_await(MEMLEASE_TOUCH_ERROR, &t) && t.window == window && t.slot == 2 && t.block == 60, "which is told");
	ok(lab_slot(window, 2) == MEMLEASE_SLOT_LOST, "the slot is lost");
	ok(lab_read(mem + 2 * LAB_BLOCK, &value) == SIGBUS && lab_bus_code == BUS_MCEERR_AR,
	   "reading it ends as with poisoned memory");
	is(lab_map(window, 2, 61), -EPERM, "no block can be put there");
	is(lab_map(window, 3, 60), -EBUSY, "nor the block elsewhere");
	is(retire(60), 0, "to break twice");
	ok(!lab_touch(&t), "is no news");
	lab_put(60);
	lab_supply(62);
	is(-lab_write(mem + 4 * LAB_BLOCK, 1), 0, "the supply's next block is taken instead");
	ok(lab_slot(window, 4) == (MEMLEASE_SLOT_RESIDENT | 62 << 2) && lab_rings->bad_supply == bad + 1,
	   "and it is counted as bad");
	*(uint64_t *)lab_block(63) = PATTERN;
	is(retire(63), 0, "a block that is behind no slot breaks");
	ok(lab_await(MEMLEASE_TOUCH_ERROR, &t) && !t.window && t.block == 63, "which is told as well");
	ok(lab_read(lab_block(63), &value) == SIGBUS && lab_bus_code == BUS_MCEERR_AR,
	   "the daemon cannot touch it any more");
	ok(lab_read(lab_block(60), &value) == SIGBUS && lab_bus_code == BUS_MCEERR_AR,
	   "nor the other, for the first time");
	is(retire(lab_blocks), -EINVAL, "no block");
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 2, 1, 0, blocks), 0, "UNMAP of the lost slot gives no block");
	lab_supply(64);
	is(-lab_write(mem + 2 * LAB_BLOCK, 1), 0, "but makes it good");
	call(MEMLEASE_POOL_INFO, &after);
	ok(after.retired == before.retired + 2 && after.resident == before.resident + 2, "INFO counts them");
	end();
}

/* --- what it costs ------------------------------------------------------------------------------ */

#define COST_ROUNDS 20

static void *read_touches(void *arg)
{
	struct pollfd p = { .fd = lab_ctl, .events = POLLIN };

	(void)arg;
	while (!stop) {
		if (poll(&p, 1, 100) > 0)
			lab_forget_touches();
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Where a touch finds its block: behind the slot; in the supply; there, and the daemon has just looked at it. */
enum place { BEHIND, SUPPLIED, SEEN };

/* ns of the first access to a slot, in the middle of all rounds. */
static double touch_ns(enum place place)
{
	static double ns[COST_ROUNDS];
	uint32_t blocks[SLOTS], i, round;
	double began;

	for (round = 0; round < COST_ROUNDS; round++) {
		for (i = 0; i < SLOTS; i++) {
			if (place == SEEN)
				*(volatile uint64_t *)lab_block(100 + i) = i;
			if (place == BEHIND)
				lab_map(window, i, 100 + i);
			else
				lab_put(100 + i);
		}
		began = lab_seconds();
		for (i = 0; i < SLOTS; i++)
			*(volatile uint64_t *)(mem + i * LAB_BLOCK) = i;
		ns[round] = (lab_seconds() - began) * 1e9 / SLOTS;
		if (lab_change(MEMLEASE_POOL_UNMAP, window, 0, SLOTS, 0, blocks) != SLOTS)
			lab_die("UNMAP");
	}
	qsort(ns, COST_ROUNDS, sizeof(ns[0]), by_size);
	return ns[COST_ROUNDS / 2];
}

/* A touch is a page fault, and a little more: most of it is the kernel's own. */
static void test_cost(void)
{
	double there, unread, read, seen;
	pthread_t daemon;

	begin("cost");
	lab_commit(window, 0, SLOTS);
	there = touch_ns(BEHIND);
	lab_put(90);
	lab_write(mem, 1);	/* a record that stays unread: nobody is woken for the next */
	lab_change(MEMLEASE_POOL_UNMAP, window, 0, 1, 0, &(uint32_t){ 0 });
	unread = touch_ns(SUPPLIED);
	seen = touch_ns(SEEN);
	stop = false;
	pthread_create(&daemon, NULL, read_touches, NULL);
	lab_nap(200);
	read = touch_ns(SUPPLIED);
	stop = true;
	pthread_join(daemon, NULL);
	/* How long is for a person to read: a busy machine is no fault of the module's. */
	ok(there > 0 && unread > 0 && seen > 0 && read > 0,
	   "a page fault where a block is takes %.0f ns; with one from the supply %.0f; with one that the daemon has just looked at %.0f; with a daemon that sleeps between them %.0f",
	   there, unread, seen, read);
	end();
}

/* Last of all: afterwards the vacant slots of windows that were all committed show nothing. */
static void test_zeros_break(void)
{
	uint32_t full = lab_create("full", 1), blocks;
	char *mapped;
	uint64_t value;
	int fd = lab_open_window("full");

	begin("zeros");
	lab_commit(full, 0, 1);
	mapped = lab_map_window(fd, 1);
	lab_change(MEMLEASE_POOL_COMMIT, full, 0, 1, 0, &blocks);
	ok(!peek(mem) && !peek(mapped), "zeros are read");
	is(retire(0), 0, "the module's own block breaks");
	ok(!peek(mem) && !peek(mem + 9 * LAB_BLOCK), "which a window with zeros of its own does not show");
	ok(lab_read(mapped, &value) == SIGBUS && lab_bus_code == BUS_MCEERR_AR, "and one without shows no more");
	munmap(mapped, LAB_BLOCK);
	close(fd);
	is(lab_remove(full, 1), 0, "it goes");
	end();
}

int main(int argc, char **argv)
{
	if (argc != 3)
		lab_die("usage: pool-touch BASE BYTES");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	test_vacant();
	test_touch();
	test_two();
	test_nonsense();
	test_move();
	test_read();
	test_retire();
	test_cost();
	test_zeros_break();
	return lab_failures ? 1 : 0;
}
