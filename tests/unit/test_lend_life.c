// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ over time: usage in the ledger, the end of VMs, the daemon's death and
 * return, files filled behind its back.
 */
#include "lend_rig.h"

static void usage_reaches_the_ledger(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	enum memlease_reason why;
	char path[256];

	borrow(vm, 0, 4, &why);
	lend_touch(vm, WINDOW, 0);
	pass_ms(f, 1000);
	lend_touch(vm, WINDOW, 1);
	pass_ms(f, 1500);
	report(vm, WINDOW, 0, 1);
	/* Over the end of the hour: two rows. */
	pass_ms(f, 2500 * 1000);
	settle_ledger(f);
	snprintf(path, sizeof(path), "%s", lend_region_path(vm, WINDOW));
	assert_int_equal(access(path, F_OK), 0);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"),
			 1 * S_NS + 2 * 1500000000ULL + 2500 * S_NS);
	assert_int_equal(ledger_sum(f, "committed_block_ns", "a"), 6 * 2502500000000ULL);
	assert_int_equal(ledger_sum(f, "guarantee_block_ns", "a"), 3 * 2502500000000ULL);
	assert_int_equal(ledger_sum(f, "1", "a"), 2);
	assert_int_equal(ledger_sum(f, "touches", "a"), 2);
	assert_int_equal(ledger_sum(f, "until_ms - start_ms", "a"), 2502500);
	assert_int_equal(ledger_sum(f, "start_ms % 3600000 = 0", "a"), 1);
	assert_int_equal(ledger_sum(f, "ended_ms", "a") / 2, START_MS + 2502500);
	/* Its record is gone with the last row. */
	assert_null(f->l->ended);
	assert_int_equal(pool_status(f).lent_blocks, 0);
}

static void reopen(struct fixture *f)
{
	lender_close(f->l);
	pass_ms(f, 10000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
}

static void a_new_daemon_goes_on(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	uint64_t hva[2] = { 0x7f0000000000, 0x7f8000000000 }, got[2], gpa;
	enum memlease_reason why;
	struct lender *second;
	struct ml_why text = { "" };

	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	lend_vm_set_layout(vm, hva, 0x100000000);
	borrow(vm, 0, 5, &why);
	lend_touch(vm, WINDOW, 4);
	lend_touch(vm, BOOT, 1);
	lend_set_target(vm, 6, 5000, &text);
	lend_vm_stat(vm, MEMLEASE_STAT_FREE_BYTES, 77);
	assert_int_equal(lender_open(&second, &f->config, &f->hooks), -EBUSY);
	reopen(f);
	lender_validate(f->l);
	vm = lend_vm_find(f->l, "a");
	assert_non_null(vm);
	assert_int_equal(status(vm).state, VM_DETACHED);
	assert_int_equal(status(vm).pid, getpid());
	assert_int_equal(status(vm).committed_blocks, 7);
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(status(vm).target_blocks, 4);
	assert_int_equal(status(vm).guest_stat[MEMLEASE_STAT_FREE_BYTES], 77);
	assert_int_equal(status(vm).resident_block_ns, 20 * S_NS);
	assert_true(lend_vm_layout(vm, got, &gpa));
	assert_memory_equal(got, hva, sizeof(hva));
	assert_int_equal(gpa, 0x100000000);
	assert_true(lend_resident(vm, WINDOW, 4));
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	assert_int_equal(status(vm).state, VM_RUNNING);
	lend_vm_detach(vm);
	assert_int_equal(status(vm).state, VM_DETACHED);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 20 * S_NS);
}

/*
 * QEMU backs boot memory itself where it could not go on without: adopted, not lost,
 * and not billed for the time in which nobody knows since when it was there.
 */
static void blocks_that_qemu_backed_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 10, 0);
	int fd = open(lend_region_path(vm, BOOT), O_RDWR | O_CLOEXEC);
	char c = 0;

	assert_true(fd >= 0);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	assert_int_equal(lend_touch(vm, BOOT, 0), 0);
	lender_close(f->l);
	assert_int_equal(fallocate(fd, 0, 2 * (off_t)MEMLEASE_BLOCK_BYTES, MEMLEASE_BLOCK_BYTES), 0);
	assert_int_equal(pwrite(fd, "x", 1, 2 * (off_t)MEMLEASE_BLOCK_BYTES), 1);
	pass_ms(f, 5000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	vm = lend_vm_find(f->l, "a");
	assert_true(lend_resident(vm, BOOT, 2));
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS - 2);
	assert_int_equal(lend_touch(vm, BOOT, 2), 0);
	assert_int_equal(pread(fd, &c, 1, 2 * (off_t)MEMLEASE_BLOCK_BYTES), 1);
	assert_int_equal(c, 'x');
	pass_ms(f, 1000);
	assert_int_equal(status(vm).resident_block_ns, 5 * S_NS + 2 * S_NS);
	lender_validate(f->l);
	lend_vm_end(vm, "test");
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	close(fd);
}

/* What is gone when a new daemon comes is not billed since the old one went. */
static void blocks_that_qemu_gave_up_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 10, 0);
	int fd = open(lend_region_path(vm, BOOT), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	for (uint64_t s = 0; s < 3; s++)
		assert_int_equal(lend_touch(vm, BOOT, s), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 4 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	assert_int_equal(fallocate(fd, 0, 0, 2 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lender_close(f->l);
	pass_ms(f, 5000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	vm = lend_vm_find(f->l, "a");
	assert_int_equal(status(vm).resident_block_ns, 10 * S_NS);
	lender_validate(f->l);
	close(fd);
}

static pid_t attach_process(struct lend_vm *vm)
{
	pid_t pid = start_process();

	assert_int_equal(lend_vm_attach(vm, pid, -1), 0);
	return pid;
}

/* Nobody knows when: so it is not billed for the time without a daemon, but one that lives is. */
static void qemu_that_ended_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3), *lives = make_vm(f, "b", 2, 10, 3);
	pid_t pid = attach_process(vm), other = attach_process(lives);

	lend_touch(vm, BOOT, 0);
	lend_touch(lives, BOOT, 0);
	pass_ms(f, 3000);
	lender_close(f->l);
	end_process(pid);
	pass_ms(f, 2 * PERIOD_S * 1000ULL);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS - 1);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 3 * S_NS);
	assert_int_equal(ledger_sum(f, "committed_block_ns", "a"), 6 * S_NS);
	assert_int_equal(ledger_sum(f, "guarantee_block_ns", "a"), 9 * S_NS);
	assert_int_equal(ledger_sum(f, "until_ms", "a"), START_MS + 3000);
	assert_int_equal(ledger_sum(f, "ended_ms", "a"), START_MS + 3000);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "b"), (3 + 2 * PERIOD_S) * S_NS);
	lender_validate(f->l);
	end_process(other);
}

/* A daemon that dies while it takes the blocks back: the VM is not billed until the next one does. */
static void an_end_that_was_cut_off_is_not_billed(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 10, 3);

	for (uint64_t s = 0; s < 4; s++)
		lend_touch(vm, BOOT, s);
	pass_ms(f, 3000);
	set_slices(f, 1);
	lend_vm_end(vm, "test");
	lender_close(f->l);
	pass_ms(f, 100000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	while (lender_has_work(f->l)) {
		pass_ms(f, 1000);
		lender_work(f->l);
	}
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 12 * S_NS);
	assert_int_equal(ledger_sum(f, "ended_ms", "a"), START_MS + 3000);
	lender_validate(f->l);
}

static void overwrite(const char *dir, const char *name, off_t at, const char *text)
{
	char path[192];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	close(fd);
}

/* A state directory on a disk: the files are there after a reboot, the VMs are not. */
static void a_reboot_of_the_machine(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	char record[64];

	lend_touch(vm, BOOT, 0);
	pass_ms(f, 7000);
	snprintf(record, sizeof(record), "%s.vm", status(vm).uuid);
	lender_close(f->l);
	overwrite(f->scratch.state, record, offsetof(struct record, boot_id), "another boot");
	overwrite(f->scratch.state, "blocks", 16, "another boot");
	f->boot_ns = 5 * S_NS;
	f->wall_ms += 100000;
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	settle_ledger(f);
	lender_tick(f->l);
	assert_null(f->l->ended);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 7 * S_NS);
	assert_int_equal(ledger_sum(f, "ended_ms", "a"), START_MS + 7000);
}

/* Each stops one VM at most, keeps its contents, and is told of. */
static void damaged_files_are_set_aside(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	struct lend_vm *other = make_vm(f, "b", 2, 10, 0);
	char record[64], path[192];

	assert_int_equal(lend_touch(other, BOOT, 1), 0);
	snprintf(record, sizeof(record), "%s.vm", status(vm).uuid);
	lender_close(f->l);
	overwrite(f->scratch.state, record, 0, "garbage");
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(status(lend_vm_find(f->l, "b")).resident_blocks, 1);
	assert_int_equal(f->seen.events[LEND_EV_SET_ASIDE], 1);
	snprintf(path, sizeof(path), "%s/%s.damaged-1", f->scratch.state, record);
	assert_int_equal(access(path, F_OK), 0);
	lender_validate(f->l);
	lender_close(f->l);
	overwrite(f->scratch.state, "blocks", 0, "garbage");
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_int_equal(f->seen.events[LEND_EV_SET_ASIDE], 2);
	assert_int_equal(status(lend_vm_find(f->l, "b")).resident_blocks, 1);
	assert_int_equal(pool_status(f).lent_blocks, 1);
	snprintf(path, sizeof(path), "%s/blocks.damaged-1", f->scratch.state);
	assert_int_equal(access(path, F_OK), 0);
	lender_validate(f->l);
}

/* The names of files were on the disk, and what was stored into them was not. */
static void files_that_power_was_lost_on_keep_no_daemon_from_starting(void **state)
{
	static const char zeros[4096];
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	char path[2][160];

	snprintf(path[0], sizeof(path[0]), "%s/%s.vm", f->scratch.state, status(vm).uuid);
	snprintf(path[1], sizeof(path[1]), "%s/blocks", f->scratch.state);
	lender_close(f->l);
	f->l = NULL;
	for (int i = 0; i < 2; i++) {
		struct stat st;
		int fd = open(path[i], O_WRONLY | O_CLOEXEC);

		assert_int_equal(fstat(fd, &st), 0);
		for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(zeros)) {
			size_t left = (size_t)(st.st_size - at);

			assert_true(pwrite(fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros), at) > 0);
		}
		close(fd);
	}
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	assert_int_equal(access(path[0], F_OK), -1);
	lender_validate(f->l);
}

/* An update of the daemon under running VMs; but what a later one wrote is set aside. */
static void records_of_version_1_are_taken_over(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	char record[64];

	assert_int_equal(lend_touch(vm, BOOT, 1), 0);
	snprintf(record, sizeof(record), "%s.vm", status(vm).uuid);
	lender_close(f->l);
	overwrite(f->scratch.state, record, offsetof(struct record, version), "\x01");
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	vm = lend_vm_find(f->l, "a");
	assert_non_null(vm);
	assert_true(lend_resident(vm, BOOT, 1));
	assert_false(lend_resetting(vm));
	assert_int_equal(vm->rec->version, 3);
	lender_close(f->l);
	overwrite(f->scratch.state, record, offsetof(struct record, version), "\x04");
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(f->seen.events[LEND_EV_SET_ASIDE], 1);
}

/* The time without a daemon counts, and in each metering period what fell into it. */
static void a_wait_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, POOL_BLOCKS + 1, 0);
	enum memlease_reason why;

	borrow(vm, 0, POOL_BLOCKS, &why);
	for (uint64_t s = 0; s < POOL_BLOCKS; s++)
		lend_touch(vm, WINDOW, s);
	assert_int_equal(lend_touch(vm, BOOT, 0), -EAGAIN);
	pass_ms(f, 5000);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "wait_ns", NULL), 5 * S_NS);
	lender_close(f->l);
	pass_ms(f, 2000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	vm = lend_vm_find(f->l, "a");
	assert_int_equal(status(vm).wait_ns, 7 * S_NS);
	/* Who still waits says so to the new daemon. */
	pass_ms(f, 3000);
	assert_int_equal(status(vm).wait_ns, 7 * S_NS);
	assert_int_equal(lend_touch(vm, BOOT, 0), -EAGAIN);
	pass_ms(f, 1000);
	assert_int_equal(status(vm).wait_ns, 8 * S_NS);
	report(vm, WINDOW, 0, 1);
	pass_ms(f, 1000);
	assert_int_equal(status(vm).wait_ns, 8 * S_NS);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "wait_ns", NULL), 8 * S_NS);
}

static void pool_size_between_daemons(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 8, 10, 0);

	for (uint64_t s = 0; s < 8; s++)
		lend_touch(vm, BOOT, s);
	lender_close(f->l);
	f->config.pool_blocks = 4;
	/* It has what is lent, and says so: VMs do not wait for somebody to see to it. */
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_int_equal(pool_status(f).pool_blocks, 8);
	assert_int_equal(f->seen.events[LEND_EV_SETTING], 1);
	lender_close(f->l);
	if (f->scratch.mounted) {	/* of a size of its own */
		f->config.pool_blocks = POOL_BLOCKS * 100;
		assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), -ENOSPC);
	}
	f->config.pool_blocks = 10;
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_int_equal(pool_status(f).free_blocks, 2);
	lender_validate(f->l);
}

static void qemu_fills_its_files(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	enum memlease_reason why;
	int fd = open(lend_region_path(vm, WINDOW), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	borrow(vm, 0, 2, &why);
	lend_touch(vm, WINDOW, 0);
	/* Slot 1 is borrowed, 4 and 5 are not. */
	assert_int_equal(pwrite(fd, "x", 1, (off_t)MEMLEASE_BLOCK_BYTES), 1);
	assert_int_equal(fallocate(fd, 0, 4 * (off_t)MEMLEASE_BLOCK_BYTES,
				   2 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lender_tick(f->l);
	lender_validate(f->l);
	assert_int_equal(f->seen.events[LEND_EV_MISMATCH], 1);
	assert_true(lend_resident(vm, WINDOW, 1));
	assert_int_equal(status(vm).resident_blocks, 4);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS - 4);
	pass_ms(f, 2000);
	assert_int_equal(status(vm).resident_block_ns, 8 * S_NS);
	/* A reported slot is really emptied, whoever filled it. */
	report(vm, WINDOW, 0, 2);
	lender_tick(f->l);
	assert_int_equal(status(vm).resident_blocks, 2);
	/* It empties them again. */
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   8 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lender_tick(f->l);
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	lender_validate(f->l);
	close(fd);
}

/* What a VM and its QEMU do does not fill the log, however often it is counted. */
static void foreign_memory_is_told_of_once_a_second(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 18, 0);
	enum memlease_reason why;
	int fd = open(lend_region_path(vm, WINDOW), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	borrow(vm, 0, 8, &why);
	assert_int_equal(fallocate(fd, 0, 8 * (off_t)MEMLEASE_BLOCK_BYTES, MEMLEASE_BLOCK_BYTES), 0);
	lender_tick(f->l);
	assert_int_equal(f->seen.events[LEND_EV_MISMATCH], 1);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(fallocate(fd, 0, (9 + i) * (off_t)MEMLEASE_BLOCK_BYTES,
					   MEMLEASE_BLOCK_BYTES), 0);
		assert_int_equal(lend_touch(vm, WINDOW, (uint64_t)i), 0);
		assert_int_equal(status(vm).resident_blocks, 3 + 2 * i);
		report(vm, WINDOW, 4, 1);
		lender_validate(f->l);
	}
	assert_int_equal(f->seen.events[LEND_EV_MISMATCH], 1);
	lender_tick(f->l);
	assert_int_equal(f->seen.events[LEND_EV_MISMATCH], 2);
	close(fd);
}

/* One slot filled, another emptied: the counts agree, but a touch finds what is missing. */
static void emptied_slot_is_filled_when_touched(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	int fd = open(lend_region_path(vm, BOOT), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	if (!f->l->backend->scan_sees_all)
		skip();
	assert_int_equal(lend_touch(vm, BOOT, 0), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   (off_t)MEMLEASE_BLOCK_BYTES), 0);
	assert_int_equal(fallocate(fd, 0, (off_t)MEMLEASE_BLOCK_BYTES,
				   (off_t)MEMLEASE_BLOCK_BYTES), 0);
	assert_int_equal(lend_touch(vm, BOOT, 0), 0);
	assert_int_equal(pool_status(f).fs_resident_blocks, 2);
	assert_int_equal(status(vm).resident_blocks, 2);
	lender_tick(f->l);
	assert_true(lend_resident(vm, BOOT, 1));
	lender_validate(f->l);
	close(fd);
}

/* A slot that is there in part keeps what it has when the file system has no more. */
static void full_file_system_costs_no_contents(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	int fd = open(lend_region_path(vm, BOOT), O_RDWR | O_CLOEXEC), filler;
	char path[120], c = 0;

	if (!f->scratch.mounted)
		skip();
	snprintf(path, sizeof(path), "%s/filler", f->scratch.pool);
	filler = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && filler >= 0);
	/* What is left has no room for a huge page, so that the next write takes a small one. */
	assert_int_equal(fallocate(filler, 0, 0,
				   (off_t)((2 * POOL_BLOCKS + 16) / 2 * MEMLEASE_BLOCK_BYTES -
					   MEMLEASE_BLOCK_BYTES / 2)), 0);
	assert_int_equal(pwrite(fd, "x", 1, 4096), 1);
	assert_int_equal(lend_touch(vm, BOOT, 0), -EAGAIN);
	assert_int_equal(pread(fd, &c, 1, 4096), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(pool_status(f).waiting, 1);
	assert_int_equal(ftruncate(filler, 0), 0);
	pass_ms(f, 1000);
	lender_tick(f->l);
	assert_true(lend_resident(vm, BOOT, 0));
	assert_int_equal(pread(fd, &c, 1, 4096), 1);
	assert_int_equal(c, 'x');
	lender_validate(f->l);
	unlink(path);
	close(filler);
	close(fd);
}

static void ledger_that_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	sqlite3 *db;

	lend_touch(vm, BOOT, 0);
	settle_ledger(f);
	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	pass_ms(f, 5000 * 1000);
	settle_ledger(f);
	assert_int_equal(f->seen.events[LEND_EV_LEDGER_BEHIND], 1);
	assert_true(pool_status(f).ledger_behind);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_non_null(f->l->ended);		/* its usage is kept */
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	settle_ledger(f);
	lender_tick(f->l);
	assert_int_equal(f->seen.events[LEND_EV_LEDGER_OK], 1);
	assert_null(f->l->ended);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 5000 * S_NS);
}

static void ended_usage_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	sqlite3 *db;

	lend_touch(vm, BOOT, 0);
	pass_ms(f, 3000);
	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	lender_close(f->l);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	/* The name is free at once, also while the old VM waits for the ledger. */
	make_vm(f, "a", 1, 2, 0);
	settle_ledger(f);
	lender_tick(f->l);
	assert_null(f->l->ended);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 3 * S_NS);
	lender_validate(f->l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(usage_reaches_the_ledger),
		T(a_new_daemon_goes_on),
		T(blocks_that_qemu_backed_meanwhile),
		T(blocks_that_qemu_gave_up_meanwhile),
		T(qemu_that_ended_meanwhile),
		T(an_end_that_was_cut_off_is_not_billed),
		T(a_reboot_of_the_machine),
		T(damaged_files_are_set_aside),
		T(files_that_power_was_lost_on_keep_no_daemon_from_starting),
		T(records_of_version_1_are_taken_over),
		T(a_wait_outlives_the_daemon),
		T(pool_size_between_daemons),
		T(qemu_fills_its_files),
		T(foreign_memory_is_told_of_once_a_second),
		T(emptied_slot_is_filled_when_touched),
		T(full_file_system_costs_no_contents),
		T(ledger_that_cannot_be_written),
		T(ended_usage_outlives_the_daemon),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
