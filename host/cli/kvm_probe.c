// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest of nine instructions. It runs in long mode with its own page tables,
 * tells through a port which ring it is in, takes a breakpoint through its
 * interrupt table, and halts: what every kernel does and what a KVM for
 * paravirtual guests only gets wrong. Called by run --accel auto.
 */
#include "kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/cleanup.h"

#define GUEST_BYTES 0x10000
#define PML4_AT 0x1000
#define PDPT_AT 0x2000
#define PD_AT 0x3000
#define GDT_AT 0x4000
#define IDT_AT 0x5000
#define CODE_AT 0x6000
#define HANDLER_AT 0x7000
#define STACK_AT 0x9000
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define PORT_RING 0xf0
#define PORT_TRAP 0xf1
#define TRAP_MARK 0x42
#define VECTOR_BREAKPOINT 3

struct probe {
	int kvm, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	const char *step;	/* what is being tried, for the complaint */
};

static const uint8_t guest_code[] = {
	0x8c, 0xc8,		/* mov %cs,%eax */
	0xe6, PORT_RING,	/* out %al,$PORT_RING */
	0xcc,			/* int3 */
	0xf4,			/* hlt */
};

static const uint8_t guest_handler[] = {
	0xb0, TRAP_MARK,	/* mov $TRAP_MARK,%al */
	0xe6, PORT_TRAP,	/* out %al,$PORT_TRAP */
	0xf4,			/* hlt */
};

static void put64(struct probe *p, size_t at, uint64_t value)
{
	memcpy(p->memory + at, &value, sizeof(value));
}

static void fill_memory(struct probe *p)
{
	const uint64_t present_writable = 3, huge = 1 << 7;

	put64(p, PML4_AT, PDPT_AT | present_writable);
	put64(p, PDPT_AT, PD_AT | present_writable);
	put64(p, PD_AT, 0 | present_writable | huge);
	put64(p, GDT_AT + CODE_SELECTOR, 0x00af9b000000ffffULL);	/* 64-bit code, ring 0 */
	put64(p, GDT_AT + DATA_SELECTOR, 0x00cf93000000ffffULL);
	/* An interrupt gate; the handler lies under 64 KiB. */
	put64(p, IDT_AT + 16 * VECTOR_BREAKPOINT,
	      HANDLER_AT | (uint64_t)CODE_SELECTOR << 16 | 0x8eULL << 40);
	memcpy(p->memory + CODE_AT, guest_code, sizeof(guest_code));
	memcpy(p->memory + HANDLER_AT, guest_handler, sizeof(guest_handler));
}

static int set_registers(struct probe *p)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = CODE_SELECTOR, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = DATA_SELECTOR, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs regs = { .rip = CODE_AT, .rsp = STACK_AT, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(p->vcpu, KVM_GET_SREGS, &sregs))
		return -errno;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.gdt = (struct kvm_dtable){ .base = GDT_AT, .limit = 0x17 };
	sregs.idt = (struct kvm_dtable){ .base = IDT_AT, .limit = 16 * 32 - 1 };
	sregs.cr3 = PML4_AT;
	sregs.cr4 = 1 << 5;			/* PAE */
	sregs.cr0 = 1u << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1;	/* PG WP NE ET PE */
	sregs.efer = 1 << 8 | 1 << 10;		/* LME LMA */
	if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs) || ioctl(p->vcpu, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}

static int make_vm(struct probe *p)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_BYTES };
	int size;

	p->step = "making a VM";
	p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	if (p->vm < 0)
		return -errno;
	p->memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->memory == MAP_FAILED)
		return -errno;
	region.userspace_addr = (uintptr_t)p->memory;
	if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region))
		return -errno;
	p->step = "making a CPU";
	p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0);
	size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (p->vcpu < 0 || size < (int)sizeof(*p->run))
		return -errno;
	p->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
	return p->run == MAP_FAILED ? -errno : 0;
}

/* Run until the guest writes a byte to port. */
static int expect_out(struct probe *p, uint16_t port, uint8_t byte)
{
	const struct kvm_run *run = p->run;

	if (ioctl(p->vcpu, KVM_RUN, 0))
		return -errno;
	if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
	    run->io.port != port || run->io.size != 1)
		return -EPROTO;
	return ((const uint8_t *)run)[run->io.data_offset] == byte ? 0 : -EPROTO;
}

static int run_guest(struct probe *p)
{
	int err;

	p->step = "entering 64-bit mode";
	err = set_registers(p);
	if (err)
		return err;
	p->step = "running in ring 0";
	err = expect_out(p, PORT_RING, CODE_SELECTOR);
	if (err)
		return err;
	p->step = "taking an interrupt";
	err = expect_out(p, PORT_TRAP, TRAP_MARK);
	if (err)
		return err;
	p->step = "halting";
	if (ioctl(p->vcpu, KVM_RUN, 0))
		return -errno;
	return p->run->exit_reason == KVM_EXIT_HLT ? 0 : -EPROTO;
}

/* In the child: writes the complaint, if any, to fd and never returns. */
__attribute__((noreturn))
static void probe_child(int kvm, int fd)
{
	struct probe p = { .kvm = kvm };
	char text[128];
	int err = make_vm(&p);

	if (!err) {
		fill_memory(&p);
		err = run_guest(&p);
	}
	if (err) {
		int n = snprintf(text, sizeof(text), "%s failed%s%s", p.step,
				 err == -EPROTO ? "" : ": ", err == -EPROTO ? "" : strerror(-err));

		if (write(fd, text, (size_t)n) != n)
			_exit(2);
	}
	_exit(err ? 1 : 0);
}

/* Wait for the child's end: 0, -ETIME (killed), or -EPROTO and what the child said. */
static int reap(pid_t child, int fd, struct ml_why *why)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status;
	ssize_t n;

	if (poll(&p, 1, KVM_PROBE_TIMEOUT_MS) <= 0) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return ml_refuse(why, -ETIME, "a guest of nine instructions did not end");
	}
	n = read(fd, why->text, sizeof(why->text) - 1);
	why->text[n > 0 ? n : 0] = '\0';
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return why->text[0] ? -EPROTO : ml_refuse(why, -EPROTO, "the trial guest died");
}

int kvm_probe(struct ml_why *why)
{
	ml_autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), in = -1;
	int pipes[2];
	pid_t child;

	if (kvm < 0)
		return ml_refuse(why, -errno, "/dev/kvm: %s", strerror(errno));
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return ml_refuse(why, -EPROTO, "/dev/kvm is not KVM");
	if (pipe2(pipes, O_CLOEXEC))
		return ml_refuse(why, -errno, "pipe: %s", strerror(errno));
	in = pipes[0];
	fflush(NULL);
	child = fork();
	if (!child)
		probe_child(kvm, pipes[1]);
	close(pipes[1]);
	if (child < 0)
		return ml_refuse(why, -errno, "fork: %s", strerror(errno));
	return reap(child, in, why);
}
