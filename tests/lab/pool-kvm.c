// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-kvm BASE BYTES: a window as a guest's memory, with no QEMU in between: what
 * KVM_RUN returns, and KVM's own counters, when a vCPU touches slots of all kinds. The
 * guest is some bytes of real-mode code that read or write where the data segment
 * lies, and halt.
 */
#include "pool.h"

#include <linux/kvm.h>
#include <pthread.h>

#define SLOTS 32
#define VCPUS 2
#define LOW_BYTES 0x10000	/* the guest's code is here, in memory of this program */
#define WINDOW_GPA (4 * LAB_BLOCK)
#define ROUNDS 100000000u
#define MOVES_LEAST 5
#define LOOKERS 2
#define WIDE_BYTES (1UL << 34)
#define PATTERN 0x6d656d6cu

static const uint8_t code_read[] = { 0x66, 0x8b, 0x05, 0xf4 };		/* mov (%di),%eax; hlt */
static const uint8_t code_write[] = { 0x66, 0x89, 0x05, 0xf4 };		/* mov %eax,(%di); hlt */
/* 0: incl (%di); dec %ecx; jnz 0b; hlt */
static const uint8_t code_count[] = { 0x66, 0xff, 0x05, 0x66, 0x49, 0x75, 0xf9, 0xf4 };

struct vcpu {
	int fd;
	struct kvm_run *run;
	uint32_t at;		/* where it counts in its slot */
	volatile int result;	/* of counting, and 1; 0: not yet */
};

static int window_fd;
static struct vcpu vcpus[VCPUS];
static uint32_t window;
static char *low, *mem;

static void need(bool holds, const char *what)
{
	if (!holds)
		lab_die("%s", what);
}

static void make_guest(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = LOW_BYTES };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	need(kvm >= 0, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	need(vm >= 0, "KVM_CREATE_VM");
	low = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	region.userspace_addr = (uintptr_t)low;
	need(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "the guest's code");
	region = (struct kvm_userspace_memory_region){
		.slot = 1, .guest_phys_addr = WINDOW_GPA, .memory_size = SLOTS * LAB_BLOCK,
		.userspace_addr = (uintptr_t)mem,
	};
	need(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "the window as the guest's memory");
	for (int i = 0; i < VCPUS; i++) {
		struct vcpu *v = &vcpus[i];

		v->fd = ioctl(vm, KVM_CREATE_VCPU, i);
		need(v->fd >= 0, "KVM_CREATE_VCPU");
		v->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
		need(v->run != MAP_FAILED, "the vCPU's page");
		v->at = 0x1000 * (i + 1);
	}
}

/* Run code at a byte of the window: 0 if the guest halted, -errno, or the exit's reason. */
static int guest_do(struct vcpu *v, const uint8_t *code, size_t size, uint64_t at, uint32_t *value)
{
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2, .rdi = at & 0xffff, .rax = *value, .rcx = ROUNDS };
	struct kvm_sregs sregs;
	int rc;

	memcpy(low + 0x1000, code, size);
	ioctl(v->fd, KVM_GET_SREGS, &sregs);
	sregs.cs.base = sregs.cs.selector = 0;
	sregs.ds.base = WINDOW_GPA + (at & ~0xffffULL);
	ioctl(v->fd, KVM_SET_SREGS, &sregs);
	ioctl(v->fd, KVM_SET_REGS, &regs);
	do {
		rc = ioctl(v->fd, KVM_RUN, 0) ? -errno : 0;
	} while (rc == -EINTR || rc == -EAGAIN);
	ioctl(v->fd, KVM_GET_REGS, &regs);
	*value = regs.rax;
	if (rc)
		return rc;
	return v->run->exit_reason == KVM_EXIT_HLT ? 0 : (int)v->run->exit_reason;
}

static int guest_read(uint32_t slot, uint32_t *value)
{
	*value = ~0;
	return guest_do(&vcpus[0], code_read, sizeof(code_read), slot * LAB_BLOCK + 4096, value);
}

static int guest_write(uint32_t slot, uint32_t value)
{
	return guest_do(&vcpus[0], code_write, sizeof(code_write), slot * LAB_BLOCK + 4096, &value);
}

/* Does this block stand behind the slot, and hold this where the guest reads and writes? */
static bool holds(uint32_t slot, uint32_t block, uint32_t value)
{
	return lab_slot(window, slot) == (MEMLEASE_SLOT_RESIDENT | block << 2) &&
	       *(volatile uint32_t *)(mem + slot * LAB_BLOCK + 4096) == value;
}

static long kvm_counter(const char *name)
{
	char path[128];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s", name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%ld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

static void test_touch(void)
{
	long before = kvm_counter("pages_2m"), small = kvm_counter("pages_4k");
	uint32_t value, blocks[SLOTS], i, wrong = 0;
	struct memlease_touch t;

	lab_commit(window, 0, 16);
	for (i = 0; i < 16; i++)
		lab_supply(10 + i);
	for (i = 0; i < 16; i++)
		wrong += guest_write(i, PATTERN + i) || !holds(i, 10 + i, PATTERN + i);
	ok(!wrong, "a vCPU touches 16 slots");
	ok(lab_await(MEMLEASE_TOUCH_TAKEN, &t) && t.pid == (uint32_t)getpid(), "which is told, with its process");
	ok(kvm_counter("pages_2m") - before == 16, "KVM has 16 entries of 2 MiB for them (%ld)",
	   kvm_counter("pages_2m") - before);
	ok(kvm_counter("pages_4k") - small <= 1, "and none of 4 KiB but for the code (%ld)",
	   kvm_counter("pages_4k") - small);
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 4, 8, 0, blocks), 8, "half of them are unmapped");
	ok(kvm_counter("pages_2m") - before == 8, "KVM's entries are gone (%ld)", kvm_counter("pages_2m") - before);
	*(uint32_t *)(lab_block(40) + 4096) = 1;
	lab_map(window, 4, 40);
	ok(!guest_read(4, &value) && value == 1, "the guest sees what is there next");
	is(lab_move(window, 4, 41), 40, "it is moved");
	*(uint32_t *)(lab_block(40) + 4096) = 2;
	ok(!guest_read(4, &value) && value == 1, "with its contents");
	ok(!guest_write(4, 3) && holds(4, 41, 3) && *(uint32_t *)(lab_block(40) + 4096) == 2,
	   "the guest writes to the new block");
}

static void test_vacant(void)
{
	struct memlease_touch t;
	uint32_t value;
	int rc;

	lab_forget_touches();
	is(guest_write(20, 1), -EFAULT, "a write to a vacant slot ends KVM_RUN with an error");
	ok(lab_await(MEMLEASE_TOUCH_VIOLATION, &t) && t.slot == 20 && t.pid == (uint32_t)getpid(), "and is told");
	ok(!guest_read(21, &value) && !value, "one reads as zeros");
	/* KVM emulates the write, cannot write, and leaves it to QEMU, which gets SIGBUS. */
	rc = guest_write(21, 1);
	ok(rc == -EFAULT || (rc == KVM_EXIT_MMIO && vcpus[0].run->mmio.is_write && lab_write(mem + 21 * LAB_BLOCK, 1) == SIGBUS),
	   "a write does not come through then either (%d)", rc);
	ok(lab_await(MEMLEASE_TOUCH_VIOLATION, &t) && t.slot == 21, "and is told");
	ok(!guest_read(22, &value) && !value && !guest_read(21, &value) && !value, "zeros are zeros as before");
	lab_commit(window, 21, 1);
	lab_supply(50);
	is(guest_write(21, PATTERN), 0, "when it is committed, the guest writes");
	ok(holds(21, 50, PATTERN), "to its block");
}

static void test_lost(void)
{
	uint32_t block = 50, value;

	is(call(MEMLEASE_POOL_RETIRE, &block), 0, "the block breaks");
	is(guest_read(21, &value), -EFAULT, "then the guest cannot read it");
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 21, 1, 0, &block), 0, "the slot is given up");
	lab_supply(51);
	is(guest_write(21, 1), 0, "and good again");
}

static void *write_slot_5(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)guest_write(5, PATTERN);
}

static void test_wait(void)
{
	struct memlease_touch t;
	pthread_t thread;
	void *result;

	lab_supply_clear();
	lab_forget_touches();
	pthread_create(&thread, NULL, write_slot_5, NULL);
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t) && t.slot == 5, "a vCPU waits for a block");
	munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
	lab_supply(52);
	pthread_join(thread, &result);
	ok(!result && holds(5, 52, PATTERN), "and goes on with one");
}

static void *count(void *arg)
{
	struct vcpu *v = arg;
	uint32_t value = 0;

	v->result = 1 + guest_do(v, code_count, sizeof(code_count), 6 * LAB_BLOCK + v->at, &value);
	return NULL;
}

/* Keeps the lock of the memory map, for reading. */
static void *look_around(void *arg)
{
	char *wide = mmap(NULL, WIDE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned char *present = malloc(WIDE_BYTES / 4096);

	while (!*(volatile bool *)arg)
		mincore(wide, WIDE_BYTES, present);
	munmap(wide, WIDE_BYTES);
	free(present);
	return NULL;
}

/* KVM must never take for an error that an entry goes while it looks. */
static void test_move(void)
{
	uint32_t other = 61, moves = 0, i, changed = 0;
	pthread_t threads[VCPUS];
	double began = lab_seconds();
	int old;

	for (i = 0; i < VCPUS; i++) {
		*(uint32_t *)(lab_block(60) + vcpus[i].at) = 0;
		vcpus[i].result = 0;
	}
	lab_map(window, 6, 60);
	for (i = 0; i < VCPUS; i++)
		pthread_create(&threads[i], NULL, count, &vcpus[i]);
	while (!vcpus[0].result || !vcpus[1].result) {
		old = lab_move(window, 6, other);
		if (old < 0)
			break;
		for (i = 0; i < VCPUS; i++)
			*(uint32_t *)(lab_block(old) + vcpus[i].at) = 0x77777777;
		other = old;
		moves++;
	}
	for (i = 0; i < VCPUS; i++) {
		pthread_join(threads[i], NULL);
		ok(vcpus[i].result == 1 && *(uint32_t *)(mem + 6 * LAB_BLOCK + vcpus[i].at) == ROUNDS,
		   "vCPU %u counts to %u of %u (%d)", i, *(uint32_t *)(mem + 6 * LAB_BLOCK + vcpus[i].at), ROUNDS,
		   vcpus[i].result - 1);
		changed += *(uint32_t *)(lab_block(other) + vcpus[i].at) != 0x77777777;
	}
	ok(moves > MOVES_LEAST, "while its block is moved (%u times, one in %.1f ms)", moves, (lab_seconds() - began) * 1000 / moves);
	ok(!changed, "and never in a block that was taken");
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 6, 1, 0, &other), 1, "it is unmapped");
}

/* The same where others keep the memory map busy: its lock is not to be had for the asking. */
static void test_busy(void)
{
	pthread_t threads[LOOKERS];
	bool stop = false;

	for (int i = 0; i < LOOKERS; i++)
		pthread_create(&threads[i], NULL, look_around, &stop);
	test_move();
	stop = true;
	for (int i = 0; i < LOOKERS; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		lab_die("usage: pool-kvm BASE BYTES");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	window = lab_create("kvm", SLOTS);
	window_fd = lab_open_window("kvm");
	need(window_fd >= 0, "the window");
	mem = lab_map_window(window_fd, SLOTS);
	make_guest();
	test_touch();
	test_vacant();
	test_lost();
	test_wait();
	test_move();
	test_busy();
	return lab_failures ? 1 : 0;
}
