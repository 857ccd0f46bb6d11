// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a hostile QEMU: messages, memory tables, and
 * descriptors that are not what they seem or change later. A violation of the
 * protocol costs the connection, with a line in the log that says why; the VM
 * stays, and QEMU may come again. VM "good" on the same server goes on.
 */
#include "test_vhost_pair.h"

#include <dirent.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* --- messages ------------------------------------------------------------------------ */

/* What goes to standard error while it is caught. */
static int caught_fd = -1, stderr_fd;

static void catch_log(void)
{
	fflush(stderr);
	ml_log_set_level(ML_LOG_INFO);
	caught_fd = memfd_create("log", MFD_CLOEXEC);
	stderr_fd = dup(2);
	assert_true(caught_fd >= 0 && stderr_fd >= 0);
	assert_true(dup2(caught_fd, 2) == 2);
}

static void release_log(char *text, size_t size)
{
	ssize_t n;

	fflush(stderr);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	n = pread(caught_fd, text, size - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	close(caught_fd);
	ml_log_set_level(ML_LOG_ERR);
}

/* The connection is closed with a line that says why; the VM stays, and QEMU may come again. */
static void assert_cut_off(struct pair *p, const char *what, const char *text)
{
	char log[4096];
	bool closed = connection_closed(p->bad);
	struct vm_status s;

	release_log(log, sizeof(log));
	if (!closed || !strstr(log, text) || !strstr(log, "bad"))
		fail_msg("%s: closed %d, log \"%s\", not \"%s\"", what, closed, log, text);
	lend_vm_status(p->bad->vm, &s);
	assert_int_equal(s.state, VM_DETACHED);
	assert_int_equal(s.broken, MEMLEASE_BROKEN_NOT);
	assert_good_goes_on(p);
	guest_disconnect(p->bad);
	guest_connect_only(p->bad);
	guest_negotiate(p->bad);
	guest_start(p->bad, RIG_FEATURES);
	assert_int_equal(ask_one(p->bad, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
}

struct message_case {
	const char *what;
	uint32_t request, flags, size, sent;	/* sent: bytes of payload really sent; UINT32_MAX: size */
	uint64_t word[2];			/* the payload's first */
	int fds;
	const char *text;
};

#define ALL UINT32_MAX

static const struct message_case message_cases[] = {
	{ "version 0", 1, 0, 0, ALL, { 0 }, 0, "flags 0x0" },
	{ "version 2", 1, 2, 0, ALL, { 0 }, 0, "flags 0x2" },
	{ "a reply", 1, 5, 0, ALL, { 0 }, 0, "flags 0x5" },
	{ "unknown flags", 1, 0x101, 0, ALL, { 0 }, 0, "flags 0x101" },
	{ "huge", 5, 1, UINT32_MAX, 0, { 0 }, 0, "4294967295 bytes" },
	{ "513 bytes", 5, 1, 513, 0, { 0 }, 0, "513 bytes" },
	{ "unknown", 77, 1, 0, ALL, { 0 }, 0, "message 77 is unknown" },
	{ "number 0", 0, 1, 0, ALL, { 0 }, 0, "message 0 is unknown" },
	{ "GET_FEATURES with payload", 1, 1, 8, ALL, { 0 }, 0, "GET_FEATURES has 8 bytes" },
	{ "SET_FEATURES without", 2, 1, 0, ALL, { 0 }, 0, "SET_FEATURES has 0 bytes" },
	{ "SET_FEATURES short", 2, 1, 7, ALL, { 0 }, 0, "has 7 bytes" },
	{ "SET_FEATURES, not offered", 2, 1, 8, ALL, { 1ULL << 63 }, 0, "not offered" },
	{ "SET_FEATURES, eager", 2, 1, 8, ALL, { 1 }, 0, "features 0x1" },
	{ "SET_FEATURES with a descriptor", 2, 1, 8, ALL, { 0 }, 1, "has 1 descriptors, not 0" },
	{ "protocol features, not offered", 16, 1, 8, ALL, { 1ULL << 12 }, 0, "0x1000" },
	{ "memory table without count", 5, 1, 4, ALL, { 0 }, 0, "has 4 bytes" },
	{ "memory table, count too large", 5, 1, 8, ALL, { 9 }, 0, "of 9 regions" },
	{ "memory table, count -1", 5, 1, 8, ALL, { UINT32_MAX }, 0, "4294967295 regions" },
	{ "memory table, no descriptors", 5, 1, 40, ALL, { 1 }, 0, "0 descriptors" },
	{ "memory table, too many", 5, 1, 40, ALL, { 1 }, 2, "2 descriptors" },
	{ "memory table, short", 5, 1, 39, ALL, { 1 }, 1, "39 bytes" },
	{ "nine descriptors", 5, 1, 40, ALL, { 1 }, 9, "more than 8 descriptors" },
	{ "twenty descriptors", 1, 1, 0, ALL, { 0 }, 20, "more than 8 descriptors" },
	{ "NUM of queue 2", 8, 1, 8, ALL, { 2 | 64ULL << 32 }, 0, "queue 2" },
	{ "NUM of queue -1", 8, 1, 8, ALL, { UINT64_MAX }, 0, "queue 4294967295" },
	{ "NUM while it runs", 8, 1, 8, ALL, { 64ULL << 32 }, 0, "while it runs" },
	{ "ADDR while it runs", 9, 1, 40, ALL, { 0 }, 0, "while it runs" },
	{ "BASE while it runs", 10, 1, 8, ALL, { 0 }, 0, "while it runs" },
	{ "GET_VRING_BASE of queue 9", 11, 1, 8, ALL, { 9 }, 0, "queue 9" },
	{ "kick without descriptor", 12, 1, 8, ALL, { 0 }, 0, "has 0 descriptors, not 1" },
	{ "kick with two", 12, 1, 8, ALL, { 0 }, 2, "has 2 descriptors" },
	{ "kick with a file", 12, 1, 8, ALL, { 0 }, 1, "not an eventfd" },
	{ "kick of queue 255", 12, 1, 8, ALL, { 255 | 256 }, 0, "queue 255" },
	{ "kick with NOFD and one", 12, 1, 8, ALL, { 256 }, 1, "has 1 descriptors, not 0" },
	{ "kick with unknown bits", 12, 1, 8, ALL, { 512 }, 0, "unknown bits" },
	{ "call with a file", 13, 1, 8, ALL, { 0 }, 1, "not an eventfd" },
	{ "err with a file", 14, 1, 8, ALL, { 1 }, 1, "not an eventfd" },
	{ "ENABLE of queue 2", 18, 1, 8, ALL, { 2 | 1ULL << 32 }, 0, "queue 2" },
	{ "ENABLE 2", 18, 1, 8, ALL, { 2ULL << 32 }, 0, "switched to 2" },
	{ "back-end channel, none", 21, 1, 0, ALL, { 0 }, 0, "has 0 descriptors, not 1" },
	{ "back-end channel, a file", 21, 1, 0, ALL, { 0 }, 1, "not a stream socket" },
	{ "config, too long", 24, 1, 12 + 257, ALL, { 257ULL << 32 }, 0, "269 bytes" },
	{ "config, wraps", 24, 1, 12, ALL, { 257 }, 0, "at 257, 0 bytes" },
	{ "config, size -1", 24, 1, 12, ALL, { UINT64_MAX }, 0, "4294967295 bytes" },
	{ "config, lies", 24, 1, 12, ALL, { 8ULL << 32 }, 0, "8 bytes, in a message of 12" },
	{ "set config", 25, 1, 12, ALL, { 0 }, 0, "read-only" },
	{ "uffd, none", MEMLEASE_VHOST_SET_UFFD, 1, 72, ALL, { 0 }, 0, "has 0 descriptors" },
	{ "uffd, short", MEMLEASE_VHOST_SET_UFFD, 1, 71, ALL, { 0 }, 1, "71 bytes" },
	{ "uffd, version 2", MEMLEASE_VHOST_SET_UFFD, 1, 72, ALL, { 2 | 2ULL << 32 }, 1,
	  "version 2" },
	{ "log base", 6, 1, 16, ALL, { 0 }, 0, "message 6 is unknown" },
};

/* The same to queues that are stopped. */
static const struct message_case stopped_cases[] = {
	{ "NUM 0", 8, 1, 8, ALL, { 0 }, 0, "cannot have 0 descriptors" },
	{ "NUM 65", 8, 1, 8, ALL, { 65ULL << 32 }, 0, "cannot have 65 descriptors" },
	{ "NUM 512", 8, 1, 8, ALL, { 512ULL << 32 }, 0, "cannot have 512 descriptors" },
	{ "NUM -1", 8, 1, 8, ALL, { UINT64_MAX << 32 }, 0, "4294967295 descriptors" },
	{ "ADDR with logging", 9, 1, 40, ALL, { 1ULL << 32 }, 0, "logging" },
	{ "ADDR not aligned", 9, 1, 40, ALL, { 0, 8 }, 0, "not aligned" },
	{ "ADDR of queue 2", 9, 1, 40, ALL, { 2 }, 0, "queue 2" },
	{ "BASE 65536", 10, 1, 8, ALL, { 65536ULL << 32 }, 0, "index 65536" },
	{ "BASE of queue 2", 10, 1, 8, ALL, { 2 }, 0, "queue 2" },
};

static void run_message_cases(const struct message_case *cases, size_t count, bool stopped)
{
	for (size_t i = 0; i < count; i++) {
		const struct message_case *c = &cases[i];
		struct message_header h = { c->request, c->flags, c->size };
		struct pair p = pair_new();
		uint8_t bytes[1024] = { 0 };
		int fds[32];

		memcpy(bytes, &h, sizeof(h));
		memcpy(bytes + sizeof(h), c->word, sizeof(c->word));
		for (int f = 0; f < c->fds; f++)
			fds[f] = p.bad->boot_fd;
		if (stopped)
			guest_stop(p.bad, NULL);
		catch_log();
		send_raw(p.bad->fd, bytes, sizeof(h) + (c->sent == ALL ? c->size : c->sent), fds,
			 (unsigned int)c->fds);
		assert_cut_off(&p, c->what, c->text);
		pair_free(&p);
	}
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void bad_messages(void **state)
{
	(void)state;
	run_message_cases(message_cases, COUNT(message_cases), false);
	run_message_cases(stopped_cases, COUNT(stopped_cases), true);
}

static void stream_ends_inside_a_message(void **state)
{
	(void)state;
	for (size_t len = 1; len < 20; len += 6) {
		struct pair p = pair_new();
		struct message_header h = { VHOST_USER_SET_FEATURES, MESSAGE_VERSION, 8 };
		uint8_t bytes[20] = { 0 };

		memcpy(bytes, &h, sizeof(h));
		assert_true(send_raw(p.bad->fd, bytes, len, NULL, 0));
		rig_spin(p.r);
		catch_log();
		shutdown(p.bad->fd, SHUT_WR);
		assert_cut_off(&p, "cut", "ends inside a message");
		pair_free(&p);
	}
}

static void message_may_dribble(void **state)
{
	struct pair p = pair_new();
	struct message_header h = { VHOST_USER_SET_MEM_TABLE,
				    MESSAGE_VERSION | MESSAGE_NEED_REPLY, 0 };
	struct rig_table t;
	uint8_t bytes[300];
	int fds[8];
	uint64_t ack;

	(void)state;
	guest_table(p.bad, &t, fds);
	h.size = table_bytes(&t);
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), &t, h.size);
	/* The descriptors come with different bytes, even. */
	for (size_t i = 0; i < sizeof(h) + h.size; i++) {
		assert_true(send_raw(p.bad->fd, bytes + i, 1, &fds[i % 8], i < 4 ? 1 : 0));
		assert_good_goes_on(&p);
	}
	get_reply(p.bad, VHOST_USER_SET_MEM_TABLE, &ack, sizeof(ack));
	assert_int_equal(ack, 0);
	assert_int_equal(ask_one(p.bad, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	pair_free(&p);
}

static void replies_that_nobody_reads(void **state)
{
	struct pair p = pair_new();
	struct message_header h = { VHOST_USER_GET_FEATURES, MESSAGE_VERSION, 0 };
	int i, size = 1;

	(void)state;
	setsockopt(p.bad->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	catch_log();
	for (i = 0; i < 200000; i++) {
		if (!send_raw(p.bad->fd, &h, sizeof(h), NULL, 0)) {
			if (errno == EPIPE || errno == ECONNRESET)
				break;
			rig_spin(p.r);
		}
	}
	assert_true(i < 200000);
	assert_cut_off(&p, "unread", "reads no replies");
	pair_free(&p);
}

/* --- memory tables ---------------------------------------------------------------------- */

struct table_case {
	const char *what;
	unsigned int entry;
	uint64_t gpa, bytes, user, off;	/* added to what is right */
	const char *text;
};

static const struct table_case table_cases[] = {
	{ "offset behind the file", 2, 0, 0, 0, 12 * BLOCK, "lie outside the file" },
	{ "longer than the file", 2, 0, 1, 0, 0, "lie outside the file" },
	{ "offset wraps", 2, 0, 0, 0, UINT64_MAX - 6 * BLOCK, "lie outside the file" },
	{ "size wraps", 2, 0, -(13 * BLOCK), 0, 0, "lie outside the file" },
	{ "size 0", 3, 0, -(RIG_WINDOW * BLOCK), 0, 0, "0x0 bytes" },
	{ "gpa wraps", 2, -(4 * GIB + BLOCK), 0, 0, 0, "wrap around" },
	{ "gpa overlaps", 2, -(4 * GIB), 0, 0, 0, "overlaps" },
	{ "user overlaps", 3, 0, 0, 0, 0, "overlaps" },
	{ "file overlaps", 1, 6 * BLOCK - 0xc0000, 0, 64 * GIB, -0xc0000ULL, "overlaps" },
	{ "user not congruent", 1, 0, -16, 1, 0, "not the same place in a page" },
	{ "not congruent", 2, 4096, 0, 0, 0, "not the same place in a 2 MiB block" },
};

static void bad_memory_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table_cases) / sizeof(*table_cases); i++) {
		const struct table_case *c = &table_cases[i];
		struct pair p = pair_new();
		struct rig_table t;
		char log[4096];
		uint64_t ack;
		int fds[8];

		guest_stop(p.bad, NULL);
		guest_table(p.bad, &t, fds);
		t.r[c->entry].gpa += c->gpa;
		t.r[c->entry].bytes += c->bytes;
		t.r[c->entry].user += c->user;
		t.r[c->entry].off += c->off;
		if (strcmp(c->what, "user overlaps") == 0)
			t.r[3].user = t.r[2].user;
		catch_log();
		ack = guest_send_table(p.bad, &t, fds);
		release_log(log, sizeof(log));
		if (ack != 1 || !strstr(log, c->text))
			fail_msg("%s: %d, \"%s\" is not in \"%s\"", c->what, (int)ack, c->text, log);
		/* Without a table the rings have no place. */
		send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
		assert_broken(&p, c->what, MEMLEASE_BROKEN_RING, "does not lie in boot memory");
		pair_free(&p);
	}
}

static void foreign_memory_is_left_out(void **state)
{
	struct pair p = pair_new();
	struct rig_table t;
	char log[4096];
	int fds[8];

	(void)state;
	/* The other VM's files, a memfd, a pipe: nothing that this VM may have. */
	guest_stop(p.bad, NULL);
	guest_table(p.bad, &t, fds);
	fds[0] = fds[1] = p.good->boot_fd;
	fds[2] = memfd_create("x", MFD_CLOEXEC);
	fds[3] = p.bad->kick[0];
	catch_log();
	assert_int_equal(guest_send_table(p.bad, &t, fds), 1);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "none of 4 regions is this VM's boot memory"));
	close(fds[2]);
	guest_table(p.bad, &t, fds);
	fds[3] = p.good->window_fd;
	assert_int_equal(guest_send_table(p.bad, &t, fds), 0);
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_int_equal(ask_one(p.bad, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_good_goes_on(&p);
	pair_free(&p);
}

/* --- descriptors that change ---------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* QEMU fills the call descriptor and makes it blocking: a notification would wait for ever. */
static void call_descriptor_blocks(void **state)
{
	struct pair p = pair_new();
	uint64_t full = UINT64_MAX - 1, before;

	(void)state;
	called(p.bad, 0);
	assert_int_equal(write(p.bad->call[0], &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(p.bad->call[0], F_SETFL, 0), 0);
	before = now_ms();
	assert_int_equal(ask_one(p.bad, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_true(now_ms() - before < 1000);
	assert_good_goes_on(&p);
	pair_free(&p);
}

static void *touch_main(void *where)
{
	*(volatile uint8_t *)where = 1;
	return NULL;
}

static void uffd_blocks(void **state)
{
	struct pair p = pair_new();
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct memlease_vhost_uffd l = {
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ 0, 0, 0, (uintptr_t)p.bad->boot, RIG_BOOT * BLOCK },
			{ 1, 0, RIG_WINDOW_GPA, (uintptr_t)p.bad->window, RIG_WINDOW * BLOCK },
		},
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)p.bad->boot, RIG_BOOT * BLOCK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct memlease_vhost_uffd wrong;
	pthread_t thread;
	char log[4096];

	(void)state;
	assert_true(uffd >= 0);
	assert_int_equal(ioctl(uffd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_int_equal(fcntl(uffd, F_SETFL, 0), 0);
	catch_log();
	pthread_create(&thread, NULL, touch_main, p.bad->boot + 9 * BLOCK);
	for (int i = 0; i < 50; i++)
		sd_event_run(p.r->event, 1000);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "userfaultfd cannot be read: QEMU made it blocking"));
	assert_good_goes_on(&p);
	/* Handed over again, it serves what waits. */
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	for (int i = 0; i < 2000 && !lend_resident(p.bad->vm, MEMLEASE_REGION_BOOT, 9); i++)
		sd_event_run(p.r->event, 1000);
	pthread_join(thread, NULL);
	/* Layouts that cannot be, and descriptors that are something else, are refused. */
	for (int i = 0; i < 10; i++) {
		int fd = i == 9 ? p.bad->kick[0] : uffd;

		wrong = l;
		wrong.count += i == 0;
		wrong.regions[0].region += i == 1;
		wrong.regions[0].gpa += i == 2 ? BLOCK : 0;
		wrong.regions[0].hva += i == 3;
		wrong.regions[1].bytes += i == 4 ? BLOCK : 0;
		wrong.regions[1].bytes -= i == 5 ? BLOCK : 0;
		wrong.regions[1].gpa = i == 6 ? -BLOCK : wrong.regions[1].gpa;
		wrong.regions[1].hva = i == 7 ? l.regions[0].hva + BLOCK : wrong.regions[1].hva;
		wrong.regions[1].reserved += i == 8;
		if (send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &wrong, sizeof(wrong), &fd, 1) != 1)
			fail_msg("layout %d was not refused", i);
	}
	/* Again as it should be. */
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_good_goes_on(&p);
	close(uffd);
	pair_free(&p);
}

static int open_uffd(void *range, uint64_t bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)range, bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -1;
	return fd;
}

static struct memlease_vhost_uffd layout_of(const struct guest *g)
{
	return (struct memlease_vhost_uffd){
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ 0, 0, 0, (uintptr_t)g->boot, RIG_BOOT * BLOCK },
			{ 1, 0, RIG_WINDOW_GPA, (uintptr_t)g->window, RIG_WINDOW * BLOCK },
		},
	};
}

/* QEMU in a process of its own: hands over its userfaultfd, and touches what the guest never borrowed. */
static void vacant_toucher_main(const struct guest *g)
{
	struct memlease_vhost_uffd l = layout_of(g);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct guest self = *g;
	int uffd = open_uffd(g->window, RIG_WINDOW * BLOCK);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	self.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (uffd < 0 || connect(self.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		_exit(1);
	send_msg(&self, MEMLEASE_VHOST_SET_UFFD, 0, &l, sizeof(l), &uffd, 1);
	*(volatile uint8_t *)(g->window + 5 * BLOCK + 77) = 1;
	_exit(2);
}

static void touch_of_a_vacant_slot_ends_the_vm(void **state)
{
	struct rig *r = rig_new(256);
	struct pair p = { r, guest_define(r, "bad"), guest_new(r, "good") };
	struct pool_status before, after;
	int status;
	pid_t pid;

	(void)state;
	lender_status(r->lender, &before);
	pid = fork();
	if (pid == 0)
		vacant_toucher_main(p.bad);
	assert_true(pid > 0);
	for (int i = 0; i < 5000 && !r->ended; i++)
		assert_true(sd_event_run(r->event, 1000) >= 0);
	assert_int_equal(r->ended, 1);
	assert_int_equal(r->stopped, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_null(lend_vm_find(r->lender, "bad"));
	lender_status(r->lender, &after);
	assert_int_equal(after.free_blocks, before.free_blocks);
	assert_good_goes_on(&p);
	pair_free(&p);
}

/* QEMU registers memory of its own: nobody serves that, and nobody else is hurt. */
static void touch_elsewhere_is_left_alone(void **state)
{
	struct pair p = pair_new();
	struct memlease_vhost_uffd l = layout_of(p.bad);
	uint8_t *own = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_range range = { (uintptr_t)own, BLOCK };
	int uffd = open_uffd(own, BLOCK);
	pthread_t thread;
	char log[4096];

	(void)state;
	assert_true(uffd >= 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	catch_log();
	pthread_create(&thread, NULL, touch_main, own);
	for (int i = 0; i < 50; i++)
		sd_event_run(p.r->event, 1000);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "neither boot memory nor window"));
	assert_good_goes_on(&p);
	assert_int_equal(ioctl(uffd, UFFDIO_UNREGISTER, &range), 0);
	pthread_join(thread, NULL);
	munmap(own, BLOCK);
	close(uffd);
	pair_free(&p);
}

static int count_fds(void)
{
	struct dirent *e;
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		n++;
	closedir(dir);
	return n;
}

#define FORKS 20

static void *fork_main(void *unused)
{
	/* Not by the library, which would hold locks that the event loop needs. */
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		syscall(SYS_exit_group, 0);
	waitpid(pid, NULL, 0);
	return unused;
}

/* A userfaultfd can be made such that whoever reads it gets descriptors. */
static void uffd_that_forks(void **state)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), before;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct memlease_vhost_uffd l = { MEMLEASE_ABI_VERSION, 2, { { 0 } } };
	pthread_t thread;
	struct pair p;

	(void)state;
	assert_true(uffd >= 0);
	if (ioctl(uffd, UFFDIO_API, &api) < 0) {
		close(uffd);
		skip();		/* it takes CAP_SYS_PTRACE */
	}
	p = pair_new();
	l.regions[0] = (struct memlease_vhost_region){ 0, 0, 0, (uintptr_t)p.bad->boot,
						       RIG_BOOT * BLOCK };
	l.regions[1] = (struct memlease_vhost_region){ 1, 0, RIG_WINDOW_GPA,
						       (uintptr_t)p.bad->window,
						       RIG_WINDOW * BLOCK };
	reg.range = (struct uffdio_range){ l.regions[0].hva, l.regions[0].bytes };
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	before = count_fds();
	for (int i = 0; i < FORKS; i++) {
		pthread_create(&thread, NULL, fork_main, NULL);
		while (pthread_tryjoin_np(thread, NULL))
			sd_event_run(p.r->event, 1000);
	}
	assert_true(count_fds() < before + FORKS / 2);	/* the ledger's thread opens some, too */
	assert_good_goes_on(&p);
	close(uffd);
	pair_free(&p);
}

/* Descriptors do not pile up, whatever comes with messages. */
static void descriptors_do_not_leak(void **state)
{
	struct pair p = pair_new();
	int fds[8], before = dup(0), after;

	(void)state;
	close(before);
	for (int i = 0; i < 8; i++)
		fds[i] = p.bad->boot_fd;
	ml_log_set_level(ML_LOG_ERR);
	for (int i = 0; i < 20; i++) {
		send_msg(p.bad, VHOST_USER_GET_FEATURES, 0, NULL, 0, fds, 8);
		assert_true(connection_closed(p.bad));
		guest_disconnect(p.bad);
		sd_event_run(p.r->event, 0);
		usleep(1000);
		guest_connect_only(p.bad);
		for (int n = 0; n < 2000; n++) {
			struct vm_status s;

			lend_vm_status(p.bad->vm, &s);
			if (s.state == VM_RUNNING)
				break;
			sd_event_run(p.r->event, 1000);	/* the socket's rate limit */
		}
	}
	usleep(20000);	/* the closing thread */
	after = dup(0);
	close(after);
	assert_true(after <= before + 2);
	assert_good_goes_on(&p);
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(stream_ends_inside_a_message),
		cmocka_unit_test(message_may_dribble),
		cmocka_unit_test(replies_that_nobody_reads),
		cmocka_unit_test(bad_memory_tables),
		cmocka_unit_test(foreign_memory_is_left_out),
		cmocka_unit_test(call_descriptor_blocks),
		cmocka_unit_test(uffd_blocks),
		cmocka_unit_test(touch_of_a_vacant_slot_ends_the_vm),
		cmocka_unit_test(touch_elsewhere_is_left_alone),
		cmocka_unit_test(uffd_that_forks),
		cmocka_unit_test(descriptors_do_not_leak),
	};

	return cmocka_run_group_tests_name("vhost_qemu", tests, NULL, NULL);
}
