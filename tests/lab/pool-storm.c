// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-storm BASE BYTES SECONDS: everything at once. Two VMs, processes of some
 * threads, touch their windows through huge and single pages, and change, split and
 * lose their mappings; the daemon supplies, unmaps, commits and moves. A block that
 * the daemon has back must stay as it is; a slot must hold zeros or what its own VM
 * wrote; in the end each block is in one place.
 */
#include "pool.h"

#include <pthread.h>
#include <sys/prctl.h>

#define VMS 2
#define THREADS 3		/* of a VM that touch; one more plays with mappings */
#define SLOTS 100
#define SUPPLY 24		/* blocks that the daemon keeps ready */
#define WORDS 8			/* of a block that are used, in pages of their own */
#define PATIENCE 10	/* times SECONDS, at most */
#define SLEEP_US 500

static volatile bool *stop;	/* shared with the VMs */
static uint32_t windows[VMS];

/* Numbers that are not the same each time, for each thread. */
static __thread uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (random_state >> 33) % n;
}

static volatile uint64_t *word_of(char *block, int i)
{
	return (volatile uint64_t *)(block + i * (LAB_BLOCK / WORDS) + 4096 * i);
}

/* --- a VM ----------------------------------------------------------------------- */

struct vm {
	int number, fd;
	char *huge, *small;	/* two mappings, the second without huge pages */
	volatile long touches, refused, wrong;
};

static uint64_t tag(int vm, uint32_t slot)
{
	return 0x1000000000ULL * (vm + 1) + slot;
}

static void *vm_touches(void *arg)
{
	struct vm *vm = arg;

	random_state = (uintptr_t)&random_state ^ getpid();
	while (!*stop) {
		uint32_t slot = random_below(SLOTS);
		char *block = (random_below(4) ? vm->huge : vm->small) + slot * LAB_BLOCK;
		volatile uint64_t *word = word_of(block, random_below(WORDS));
		uint64_t value = 0;
		int signal;

		if (random_below(2)) {
			signal = lab_write(word, tag(vm->number, slot));
		} else {
			signal = lab_read(word, &value);
			if (!signal && value && value != tag(vm->number, slot))
				vm->wrong++;
		}
		vm->touches++;
		vm->refused += !!signal;
	}
	return NULL;
}

/* What a hostile QEMU does to its own mappings; touches meanwhile may end in SIGSEGV. */
static void *vm_plays(void *arg)
{
	struct vm *vm = arg;
	uint64_t value;
	char *other;
	pid_t pid;

	random_state = getpid();
	while (!*stop) {
		uint32_t slot = random_below(SLOTS - 4);
		char *at = vm->huge + slot * LAB_BLOCK;

		switch (random_below(7)) {
		case 0:
			madvise(at, 4 * LAB_BLOCK, MADV_NOHUGEPAGE);
			break;
		case 1:
			madvise(vm->huge, SLOTS * LAB_BLOCK, MADV_HUGEPAGE);
			break;
		case 2:
			prctl(PR_SET_THP_DISABLE, random_below(2), 0, 0, 0);
			break;
		case 3:
			mprotect(at, 4 * LAB_BLOCK, PROT_READ);
			mprotect(vm->huge, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE);
			break;
		case 4:
			mmap(at, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vm->fd, slot * LAB_BLOCK);
			madvise(at, LAB_BLOCK, MADV_DONTNEED);
			break;
		case 5:
			other = mmap(NULL, 4 * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, vm->fd, slot * LAB_BLOCK);
			lab_read(other, &value);
			other = mremap(other, 4 * LAB_BLOCK, 4 * LAB_BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED,
				       vm->small + 2 * SLOTS * LAB_BLOCK);
			lab_read(other, &value);
			munmap(other, 4 * LAB_BLOCK);
			break;
		default:
			pid = fork();
			if (!pid)
				_exit(lab_read(at, &value) == SIGSEGV ? 0 : 1);
			waitpid(pid, (int *)&value, 0);
			vm->wrong += !!(int)value;
		}
	}
	return NULL;
}

static void vm_main(int number, const char *name)
{
	struct vm vm = { .number = number, .fd = lab_open_window(name) };
	pthread_t threads[THREADS + 1];
	char *place;

	vm.huge = lab_map_window(vm.fd, SLOTS);
	place = mmap(NULL, 4 * SLOTS * LAB_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	place = (char *)(((uintptr_t)place + LAB_BLOCK) & ~(LAB_BLOCK - 1)) + 4096;
	vm.small = mmap(place, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vm.fd, 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, vm_touches, &vm);
	pthread_create(&threads[THREADS], NULL, vm_plays, &vm);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	ok(vm.touches > 100 && vm.touches > vm.refused, "VM %d: %ld touches, %ld of them refused", number, vm.touches,
	   vm.refused);
	ok(!vm.wrong, "it never saw what was not its own (%ld)", vm.wrong);
	exit(lab_failures ? 1 : 0);
}

/* --- the daemon -------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *clean, clean_count;	/* blocks that the daemon has; under the lock */
static volatile long unmapped, moved, moves_late, dirty;

/* A block is the daemon's again: erase what is in it, and see that it stays so. */
static void get_back(uint32_t block)
{
	for (int i = 0; i < WORDS; i++)
		*word_of(lab_block(block), i) = 0;
	pthread_mutex_lock(&lock);
	clean[clean_count++] = block;
	pthread_mutex_unlock(&lock);
}

/* One that has been here for long is most likely to have been written to. */
static uint32_t take_clean(void)
{
	uint32_t block = LAB_NONE;

	pthread_mutex_lock(&lock);
	if (clean_count) {
		block = clean[0];
		memmove(clean, clean + 1, --clean_count * sizeof(*clean));
	}
	pthread_mutex_unlock(&lock);
	for (int i = 0; block != LAB_NONE && i < WORDS; i++)
		dirty += *word_of(lab_block(block), i) != 0;
	return block;
}

static void *daemon_supplies(void *arg)
{
	uint32_t block;

	(void)arg;
	while (!*stop) {
		lab_forget_touches();
		while (lab_supply_left() < SUPPLY && (block = take_clean()) != LAB_NONE)
			lab_supply(block);
		usleep(SLEEP_US);
	}
	return NULL;
}

static void *daemon_reclaims(void *arg)
{
	uint32_t blocks[SLOTS];

	random_state = (uintptr_t)arg;
	while (!*stop) {
		uint32_t w = windows[random_below(VMS)], first = random_below(SLOTS), count;
		int n, what = random_below(4);

		count = 1 + random_below(SLOTS - first < 16 ? SLOTS - first : 16);
		n = lab_change(what ? MEMLEASE_POOL_UNMAP : MEMLEASE_POOL_COMMIT, w, first, count, 0, blocks);
		if (!what)
			lab_commit(w, first, count);
		for (int i = 0; i < n; i++)
			get_back(blocks[i]);
		unmapped += n;
		usleep(SLEEP_US);
	}
	return NULL;
}

static void *daemon_moves(void *arg)
{
	random_state = (uintptr_t)arg;
	while (!*stop) {
		uint32_t w = windows[random_below(VMS)], block = take_clean();
		int old;

		if (block == LAB_NONE)
			continue;
		old = lab_move(w, random_below(SLOTS), block);
		if (old >= 0)
			moved++;
		else
			moves_late++;
		get_back(old >= 0 ? (uint32_t)old : block);
		usleep(SLEEP_US);
	}
	return NULL;
}

/* Has enough happened for the checks to mean something? */
static bool enough(void)
{
	return unmapped > 10 && moved > 10;
}

/* Each block is in one place: with the daemon, in the supply, or behind one slot. */
static void check_places(void)
{
	uint8_t *places = calloc(lab_blocks, 1), *states = calloc(lab_blocks, 1);
	struct memlease_pool_blocks arg = { .count = lab_blocks, .states_ptr = (uintptr_t)states };
	uint32_t i, wrong = 0, behind = 0;

	lab_rings->supply_head = lab_rings->supply_head;
	for (i = 0; i < clean_count; i++)
		places[clean[i]]++;
	for (i = lab_rings->supply_tail; i != lab_rings->supply_head; i++)
		places[lab_rings->supply[i % MEMLEASE_POOL_SUPPLY]]++;
	is(call(MEMLEASE_POOL_BLOCKS, &arg), 0, "BLOCKS");
	for (int vm = 0; vm < VMS; vm++) {
		for (i = 0; i < SLOTS; i++) {
			uint32_t word = lab_slot(windows[vm], i);

			if (MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_RESIDENT)
				continue;
			places[MEMLEASE_SLOT_BLOCK(word)]++;
			behind++;
			wrong += states[MEMLEASE_SLOT_BLOCK(word)] != MEMLEASE_BLOCK_BEHIND;
		}
	}
	ok(!wrong, "what is behind slots is known as such (%u blocks)", behind);
	for (i = 1; i < lab_blocks; i++)
		wrong += places[i] != 1;
	ok(!wrong && !places[0], "each block is in one place (%u are not)", wrong);
}

int main(int argc, char **argv)
{
	void *(*parts[])(void *) = { daemon_supplies, daemon_reclaims, daemon_reclaims, daemon_moves };
	const char *names[VMS] = { "storm-0", "storm-1" };
	pthread_t threads[4];
	pid_t pids[VMS];
	int status;

	if (argc != 4)
		lab_die("usage: pool-storm BASE BYTES SECONDS");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	clean = calloc(lab_blocks, sizeof(*clean));
	for (uint32_t i = 1; i < lab_blocks; i++)
		get_back(i);
	for (int i = 0; i < VMS; i++) {
		windows[i] = lab_create(names[i], SLOTS);
		lab_commit(windows[i], 0, SLOTS - 10);
		fflush(stdout);
		pids[i] = fork();
		if (!pids[i])
			vm_main(i, names[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, parts[i], (void *)(intptr_t)(i + 1));
	/* On a slow machine little has happened by then. */
	for (int left = PATIENCE, seconds = atoi(argv[3]); left && (left == PATIENCE || !enough()); left--)
		sleep(seconds);
	*stop = true;
	for (int i = 1; i < 4; i++)
		pthread_join(threads[i], NULL);
	pthread_join(threads[0], NULL);
	/* Tasks that wait now would wait for ever: nothing supplies blocks any more. */
	while (lab_rings->waiting) {
		lab_supply(take_clean());
		lab_nap(1);
	}
	for (int i = 0; i < VMS; i++) {
		waitpid(pids[i], &status, 0);
		ok(!status, "VM %d ended well (%#x)", i, status);
	}
	ok(!dirty, "no block changed while the daemon had it (%ld did)", dirty);
	ok(enough(), "%ld blocks were unmapped, %ld moved, %ld moves came late", unmapped, moved,
	   moves_late);
	ok(!lab_rings->bad_supply, "no block of the supply was bad");
	check_places();
	for (int i = 0; i < VMS; i++)
		is(lab_remove(windows[i], SLOTS), 0, "a window goes");
	return lab_failures ? 1 : 0;
}
