// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-rules BASE BYTES: who may do what with memlease_pool.ko, on a module that was
 * just loaded, with a carve-out of BYTES at BASE: claims, windows, names, owners, and
 * each refusal that the interface promises. Leaves both halves of the carve-out
 * claimed, and no window.
 */
#include "pool.h"

#define OTHER 1000	/* a user and a group */
#define SLOTS 16
#define RAM 0x10000000	/* where any machine has some */
#define DEVICES 0xc0000000	/* where the lab has none, but PCI */

static uint64_t base, bytes;

static int claim(uint64_t at, uint64_t size, struct memlease_pool_range *got)
{
	struct memlease_pool_range range = { .base = at, .bytes = size };
	int rc = call(MEMLEASE_POOL_CLAIM, &range);

	if (got)
		*got = range;
	return rc;
}

/* What open() of a path says to another user: 0 or -errno. */
static int open_as(uid_t uid, gid_t gid, const char *path)
{
	int status, fd;
	pid_t pid = fork();

	if (!pid) {
		if (setgid(gid) || setuid(uid))
			_exit(255);
		fd = open(path, O_RDWR);
		_exit(fd < 0 ? errno : 0);
	}
	waitpid(pid, &status, 0);
	return -WEXITSTATUS(status);
}

static void test_control(void)
{
	struct memlease_pool_info info;
	struct stat st;

	is(open(MEMLEASE_POOL_CONTROL, O_RDWR) < 0 ? -errno : 0, -EBUSY, "the control device opens once");
	ok(!stat(MEMLEASE_POOL_CONTROL, &st) && (st.st_mode & 07777) == 0600, "it is root's alone");
	chmod(MEMLEASE_POOL_CONTROL, 0666);
	is(open_as(OTHER, OTHER, MEMLEASE_POOL_CONTROL), -EPERM, "and its mode alone lets nobody in");
	chmod(MEMLEASE_POOL_CONTROL, 0600);
	is(call(MEMLEASE_POOL_INFO, &info), 0, "INFO");
	ok(info.version == MEMLEASE_POOL_VERSION && !info.ranges && !info.blocks && !info.windows && !info.retired,
	   "nothing is claimed at first");
	ok(info.rings_bytes >= sizeof(struct memlease_rings), "the rings are as large as the interface says");
	is(call(_IO(MEMLEASE_POOL_IOC, 99), NULL), -ENOTTY, "an unknown call is refused");
	is(call(_IOR(MEMLEASE_POOL_IOC, 0, uint64_t), &info), -ENOTTY, "and one of another size");
	is(call(MEMLEASE_POOL_INFO, (void *)8), -EFAULT, "and a bad pointer");
}

static void test_claim(void)
{
	struct memlease_pool_range range = { .base = base, .bytes = bytes, .reserved = 1 };
	uint64_t half = bytes / 2;

	is(call(MEMLEASE_POOL_CLAIM, &range), -EINVAL, "a reserved field that is set");
	is(claim(RAM, LAB_BLOCK, NULL), -EEXIST, "memory of Linux' is not claimed");
	is(claim(base - LAB_BLOCK, 2 * LAB_BLOCK, NULL), -EEXIST, "nor memory that begins in it");
	is(claim(base + bytes - LAB_BLOCK, 2 * LAB_BLOCK, NULL), -EEXIST, "nor memory that ends in it");
	is(claim(DEVICES, LAB_BLOCK, NULL), -EEXIST, "nor the registers of devices");
	is(claim(base + 4096, LAB_BLOCK, NULL), -EINVAL, "nor what is not aligned");
	is(claim(base, LAB_BLOCK + 4096, NULL), -EINVAL, "nor what is no number of blocks");
	is(claim(base, 0, NULL), -EINVAL, "nor nothing");
	is(claim(base, -LAB_BLOCK, NULL), -EINVAL, "nor past the end of all addresses");
	is(claim(-LAB_BLOCK, LAB_BLOCK, NULL), -EINVAL, "nor what the processor cannot reach");
	is(claim(base, half, &range), 0, "half of the carve-out is claimed");
	ok(!range.first_block && !range.index, "as block 0 and range 0");
	is(claim(base, half, NULL), -EBUSY, "but not twice");
	is(claim(base + half / 2, half, NULL), -EBUSY, "not even in part");
	is(claim(base + half, half, &range), 0, "the other half is, too");
	ok(range.first_block == half / LAB_BLOCK && range.index == 1, "with the next blocks");
	range = (struct memlease_pool_range){ .index = 1 };
	is(call(MEMLEASE_POOL_RANGE, &range), 0, "RANGE");
	ok(range.base == base + half && range.bytes == half && range.first_block == half / LAB_BLOCK,
	   "reads it back");
	range.index = 2;
	is(call(MEMLEASE_POOL_RANGE, &range), -ENOENT, "and knows no third");
}

static void test_blocks(void)
{
	uint8_t states[512];
	struct memlease_pool_blocks arg = { .count = bytes / LAB_BLOCK, .states_ptr = (uintptr_t)states };
	uint32_t i = 1;
	uint64_t value;

	is(call(MEMLEASE_POOL_BLOCKS, &arg), 0, "BLOCKS");
	while (i < arg.count && states[i] == MEMLEASE_BLOCK_UNUSED)
		i++;
	ok(states[0] == MEMLEASE_BLOCK_MODULE && i == arg.count, "all are unused but the module's own");
	arg.first = 1;
	is(call(MEMLEASE_POOL_BLOCKS, &arg), -EINVAL, "not past the last");
	arg.first = 0;
	arg.states_ptr = 4096;
	is(call(MEMLEASE_POOL_BLOCKS, &arg), -EFAULT, "not to a bad pointer");
	lab_see_blocks();
	is(-lab_read(lab_block(0), &value), -SIGBUS, "the daemon's view has not the module's block");
	is(-lab_write(lab_block(1), 1), 0, "but the next");
	is(-lab_write(lab_block(lab_blocks - 1), 1), 0, "and the last");
	ok(mmap(NULL, LAB_BLOCK, PROT_READ, MAP_PRIVATE, lab_ctl, MEMLEASE_POOL_OFF_BLOCKS) == MAP_FAILED,
	   "it cannot be mapped privately");
	ok(mmap(NULL, LAB_BLOCK, PROT_READ, MAP_SHARED, lab_ctl, MEMLEASE_POOL_OFF_BLOCKS / 2) == MAP_FAILED,
	   "nor from in between rings and pool");
	ok(mmap(NULL, 2 * sizeof(*lab_rings), PROT_READ, MAP_SHARED, lab_ctl, 0) == MAP_FAILED,
	   "nor the rings past their end");
}

static int create(const char *name, uint32_t slots, uint32_t mode, uint32_t uid, struct memlease_pool_window *got)
{
	struct memlease_pool_window w = { .slots = slots, .mode = mode, .uid = uid, .gid = uid };
	int rc;

	memcpy(w.name, name, strnlen(name, sizeof(w.name)));
	rc = call(MEMLEASE_POOL_CREATE, &w);
	if (got)
		*got = w;
	return rc;
}

static void test_names(void)
{
	char name[MEMLEASE_POOL_NAME_BYTES + 1] = "";
	struct memlease_pool_window w;

	is(create("", SLOTS, 0600, 0, NULL), -EINVAL, "a window without a name");
	is(create(".x", SLOTS, 0600, 0, NULL), -EINVAL, "one that begins with a dot");
	is(create("../x", SLOTS, 0600, 0, NULL), -EINVAL, "one with a slash");
	is(create("a b", SLOTS, 0600, 0, NULL), -EINVAL, "one with a blank");
	is(create("\xc3\xa4", SLOTS, 0600, 0, NULL), -EINVAL, "one with a letter of another alphabet");
	memset(name, 'n', MEMLEASE_POOL_NAME_BYTES);
	is(create(name, SLOTS, 0600, 0, NULL), -EINVAL, "one without an end");
	is(create("x", 0, 0600, 0, NULL), -EINVAL, "a window without slots");
	is(create("x", MEMLEASE_POOL_MAX_SLOTS + 1, 0600, 0, NULL), -EINVAL, "one with too many");
	is(create("x", SLOTS, 01600, 0, NULL), -EINVAL, "one with more than permission bits");
	is(create("x", SLOTS, 0600, -1, NULL), -EINVAL, "one of no user");
	name[MEMLEASE_POOL_NAME_BYTES - 1] = 0;
	is(create(name, SLOTS, 0600, 0, &w), 0, "the longest name");
	is(call(MEMLEASE_POOL_DESTROY, &w.id), 0, "is removed");
	is(call(MEMLEASE_POOL_DESTROY, &w.id), -ENOENT, "once");
}

static void test_file(int fd)
{
	char *p = mmap(NULL, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q;
	int reader;

	ok(lseek(fd, 0, SEEK_END) == (off_t)(SLOTS * LAB_BLOCK), "a window's file has its size");
	ok(p != MAP_FAILED && !((uintptr_t)p % LAB_BLOCK), "a mapping begins at 2 MiB");
	ok(mremap(p, SLOTS * LAB_BLOCK, (SLOTS + 1) * LAB_BLOCK, MREMAP_MAYMOVE) == MAP_FAILED, "it cannot grow");
	ok(munmap(p + LAB_BLOCK / 2, LAB_BLOCK) && errno == EINVAL, "nor be cut within a block");
	ok(!munmap(p + LAB_BLOCK, LAB_BLOCK), "but between blocks");
	ok(madvise(p, LAB_BLOCK, MADV_DOFORK) && errno == EINVAL, "nor be given to children");
	munmap(p, SLOTS * LAB_BLOCK);
	q = mmap(NULL, LAB_BLOCK, PROT_READ, MAP_SHARED, fd, (SLOTS - 1) * LAB_BLOCK);
	ok(q != MAP_FAILED, "the last slot alone is mapped");
	munmap(q, LAB_BLOCK);
	ok(mmap(NULL, LAB_BLOCK, PROT_READ, MAP_SHARED, fd, SLOTS * LAB_BLOCK) == MAP_FAILED && errno == EINVAL,
	   "not what is past it");
	ok(mmap(NULL, 2 * LAB_BLOCK, PROT_READ, MAP_SHARED, fd, (SLOTS - 1) * LAB_BLOCK) == MAP_FAILED,
	   "nor what reaches past it");
	ok(mmap(NULL, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) == MAP_FAILED,
	   "a window cannot be mapped privately");
	reader = open(MEMLEASE_POOL_WINDOWS "one", O_RDONLY);
	ok(reader >= 0 && mmap(NULL, LAB_BLOCK, PROT_READ, MAP_SHARED, reader, 0) == MAP_FAILED,
	   "nor by who may only read it");
	close(reader);
}

static void test_window(void)
{
	struct memlease_pool_window w, got = {};
	struct memlease_touch t;
	uint32_t second;
	struct stat st;
	int fd;

	is(create("one", SLOTS, 0640, OTHER, &w), 0, "CREATE");
	is(create("one", SLOTS, 0640, OTHER, NULL), -EEXIST, "a name is given once");
	ok(!stat(MEMLEASE_POOL_WINDOWS "one", &st) && S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0640 &&
	   st.st_uid == OTHER && st.st_gid == OTHER, "the device has owner, group and mode");
	is(open_as(OTHER + 1, OTHER + 1, MEMLEASE_POOL_WINDOWS "one"), -EACCES, "another user cannot open it");
	is(open_as(OTHER, OTHER + 1, MEMLEASE_POOL_WINDOWS "one"), 0, "its owner can");
	is(call(MEMLEASE_POOL_WINDOW, &got), 0, "WINDOW");
	ok(got.id == w.id && got.slots == SLOTS && got.mode == 0640 && got.uid == OTHER && !got.opened &&
	   !got.committed && !got.resident && !strcmp(got.name, "one"), "reads it back");
	is(call(MEMLEASE_POOL_WINDOW, &got), -ENOENT, "and there is no other");
	fd = lab_open_window("one");
	ok(fd >= 0, "root opens it");
	test_file(fd);
	got.id = 0;
	call(MEMLEASE_POOL_WINDOW, &got);
	ok(got.opened == 1, "one file is open");
	lab_forget_touches();
	is(call(MEMLEASE_POOL_DESTROY, &w.id), -EBUSY, "it is not destroyed while it is open");
	ok(stat(MEMLEASE_POOL_WINDOWS "one", &st) && errno == ENOENT, "but its device is gone");
	second = lab_create("one", SLOTS);
	ok(second != w.id, "and the name is free");
	close(fd);
	ok(lab_await(MEMLEASE_TOUCH_CLOSED, &t) && t.window == w.id, "its closing is told");
	is(call(MEMLEASE_POOL_DESTROY, &w.id), 0, "then it goes");
	is(lab_commit(second, 0, 2), 0, "the other is there");
	is(lab_map(second, 1, 5), 0, "with a block");
	is(call(MEMLEASE_POOL_DESTROY, &second), -ENOTEMPTY, "and is not destroyed with it");
	is(lab_remove(second, SLOTS), 0, "but without");
}

static void test_slots(void)
{
	uint32_t id = lab_create("slots", SLOTS), blocks[SLOTS], words[SLOTS];
	char *edge;
	struct memlease_pool_extent x[3] = { { 0, 4 }, { 8, 2 }, { 8, SLOTS } };
	struct memlease_pool_slots_op op = { .window = id, .extents = 3, .extent_ptr = (uintptr_t)x,
					     .blocks_ptr = (uintptr_t)blocks, .on = 1 };
	struct memlease_pool_slots slots = { .window = id, .count = SLOTS, .words_ptr = (uintptr_t)words };

	is(call(MEMLEASE_POOL_COMMIT, &op), -EINVAL, "an extent past the end");
	ok(lab_slot(id, 0) == MEMLEASE_SLOT_VACANT, "and nothing is done");
	op.extents = 0;
	is(call(MEMLEASE_POOL_COMMIT, &op), -EINVAL, "no extent");
	op.extents = MEMLEASE_POOL_MAX_EXTENTS + 1;
	is(call(MEMLEASE_POOL_COMMIT, &op), -EINVAL, "too many");
	x[2] = (struct memlease_pool_extent){ 0, SLOTS };
	op.extents = 3;
	is(call(MEMLEASE_POOL_COMMIT, &op), -EINVAL, "more slots than there are");
	op.extents = 2;
	op.on = 2;
	is(call(MEMLEASE_POOL_COMMIT, &op), -EINVAL, "neither on nor off");
	op.on = 1;
	op.extent_ptr = 4096;
	is(call(MEMLEASE_POOL_COMMIT, &op), -EFAULT, "extents at a bad pointer");
	op.extent_ptr = (uintptr_t)x;
	op.window = 12345;
	is(call(MEMLEASE_POOL_COMMIT, &op), -ENOENT, "no such window");
	op.window = id;
	is(call(MEMLEASE_POOL_COMMIT, &op), 0, "two extents");
	is(call(MEMLEASE_POOL_SLOTS, &slots), 0, "SLOTS");
	ok(words[3] == MEMLEASE_SLOT_COMMITTED && words[4] == MEMLEASE_SLOT_VACANT &&
	   words[9] == MEMLEASE_SLOT_COMMITTED && words[10] == MEMLEASE_SLOT_VACANT, "are committed");
	slots.first = 1;
	is(call(MEMLEASE_POOL_SLOTS, &slots), -EINVAL, "not past the last");
	is(lab_map(id, 4, 5), -EPERM, "no block behind a vacant slot");
	is(lab_map(id, SLOTS, 5), -EINVAL, "nor behind none");
	is(lab_map(id, 0, lab_blocks), -EINVAL, "no block that is none");
	is(lab_map(id, 0, 0), -EBUSY, "nor the module's own");
	is(lab_map(12345, 0, 5), -ENOENT, "nor in no window");
	is(lab_map(id, 0, 5), 0, "but a block behind a committed slot");
	is(lab_map(id, 1, 5), -EBUSY, "not behind a second one");
	is(lab_map(id, 0, 6), -EEXIST, "nor a second one behind that");
	is(lab_move(id, 1, 6), -EAGAIN, "MOVE where there is none");
	is(lab_move(id, 0, 5), -EBUSY, "or to the same");
	is(lab_move(id, 0, lab_blocks), -EINVAL, "or to none");
	is(lab_move(id, 0, 6), 5, "or to another");
	is(lab_change(MEMLEASE_POOL_UNMAP, id, 0, SLOTS, 1, blocks), -EINVAL, "UNMAP knows no on");
	is(lab_change(MEMLEASE_POOL_UNMAP, id, 0, SLOTS, 0, blocks), 1, "UNMAP of all");
	ok(blocks[0] == 6 && lab_slot(id, 0) == MEMLEASE_SLOT_COMMITTED && lab_slot(id, 4) == MEMLEASE_SLOT_VACANT,
	   "gives the block back, and keeps what is committed");
	is(lab_map(id, 0, 6), 0, "which is lent again");
	is(lab_change(MEMLEASE_POOL_COMMIT, id, 0, SLOTS, 0, (void *)4096), -EFAULT, "blocks to a bad pointer");
	is(lab_change(MEMLEASE_POOL_UNMAP, id, 0, 1, 0, NULL), -EFAULT, "or to none");
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	is(lab_change(MEMLEASE_POOL_UNMAP, id, 0, SLOTS, 0, (void *)(edge + 4096 - SLOTS * 4 + 4)), -EFAULT,
	   "or to an array that is too short");
	ok(lab_slot(id, 0) == (MEMLEASE_SLOT_RESIDENT | 6 << 2), "are not taken away");
	is(lab_change(MEMLEASE_POOL_UNMAP, id, 0, SLOTS, 0, (void *)(edge + 4096 - SLOTS * 4)), 1, "but to one that is not");
	is(lab_remove(id, SLOTS), 0, "and the window can go");
}

/* A node that was kept of a device that is gone does not open another device. */
static void test_old_node(void)
{
	uint32_t window = lab_create("old", SLOTS);
	int node = open(MEMLEASE_POOL_WINDOWS "old", O_PATH);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", node);
	ok(node >= 0 && !close(open(path, O_RDWR)), "a node can be opened through a descriptor");
	for (int i = 0; i < 100; i++) {
		if (call(MEMLEASE_POOL_DESTROY, &window))
			lab_die("DESTROY");
		window = lab_create("old", SLOTS);
		if (open(path, O_RDWR) >= 0 || errno != ENXIO)
			break;
	}
	ok(errno == ENXIO, "after which it opens nothing, whatever windows come");
	is(call(MEMLEASE_POOL_DESTROY, &window), 0, "the last goes");
	close(node);
}

/* One that nobody maps is closed without a word, unless the daemon waits for that. */
static void test_unseen(void)
{
	uint32_t window = lab_create("unseen", SLOTS);
	int fd = lab_open_window("unseen");
	struct memlease_touch t;

	lab_forget_touches();
	close(fd);
	ok(!lab_touch(&t), "a window that nobody saw is closed without a word");
	fd = lab_open_window("unseen");
	is(call(MEMLEASE_POOL_DESTROY, &window), -EBUSY, "one that is to go");
	close(fd);
	ok(lab_touch(&t) && t.type == MEMLEASE_TOUCH_CLOSED && t.window == window && !lab_touch(&t), "is not");
	is(call(MEMLEASE_POOL_DESTROY, &window), 0, "and goes");
}

#ifdef __x86_64__
/* As a program of 32 bits calls it. */
static int call_32(unsigned long cmd, void *arg)
{
	int rc;

	__asm__ volatile("int $0x80" : "=a"(rc)
			 : "a"(54), "b"(lab_ctl), "c"((uint32_t)cmd), "d"((uint32_t)(uintptr_t)arg)
			 : "memory", "r8", "r9", "r10", "r11");
	return rc;
}

static void test_32(void)
{
	struct memlease_pool_info *info = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct memlease_pool_blocks *blocks = (void *)(info + 1);
	uint8_t *states = (void *)(blocks + 1);
	uint32_t *none = (void *)(states + 4);

	is(call_32(MEMLEASE_POOL_INFO, info), 0, "a program of 32 bits reads INFO");
	ok(info->version == MEMLEASE_POOL_VERSION && info->blocks == bytes / LAB_BLOCK, "the same");
	*blocks = (struct memlease_pool_blocks){ .count = 2, .states_ptr = (uintptr_t)states };
	is(call_32(MEMLEASE_POOL_BLOCKS, blocks), 0, "and BLOCKS");
	ok(states[0] == MEMLEASE_BLOCK_MODULE && states[1] == MEMLEASE_BLOCK_UNUSED, "to a pointer of its own");
	is(call_32(MEMLEASE_POOL_DESTROY, none), -ENOENT, "and is refused what others are");
	is(call_32(_IO(MEMLEASE_POOL_IOC, 99), none), -ENOTTY, "and what is unknown");
}
#else
static void test_32(void)
{
}
#endif

/* What else could see or lose what is in the pool. */
static void test_machine(void)
{
	int mem = open("/dev/mem", O_RDONLY), power = open("/sys/power/state", O_WRONLY);

	ok(mem < 0 || mmap(NULL, 4096, PROT_READ, MAP_SHARED, mem, base) == MAP_FAILED,
	   "the pool cannot be seen through /dev/mem");
	ok(power >= 0 && write(power, "disk", 4) < 0 && errno == EPERM, "the machine does not hibernate (%s)",
	   strerror(errno));
	close(mem);
	close(power);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		lab_die("usage: pool-rules BASE BYTES");
	base = strtoull(argv[1], NULL, 0);
	bytes = strtoull(argv[2], NULL, 0);
	lab_catch_bus();
	lab_open();
	test_control();
	test_claim();
	test_blocks();
	test_names();
	test_window();
	test_slots();
	test_old_node();
	test_unseen();
	test_32();
	test_machine();
	return lab_failures ? 1 : 0;
}
