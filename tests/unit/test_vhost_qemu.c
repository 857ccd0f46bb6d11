// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a hostile QEMU: messages and memory tables (descriptors are
 * in test_vhost_descriptors.c). A violation of the
 * protocol costs the connection, with a line in the log that says why; the VM
 * stays, and QEMU may come again. VM "good" on the same server goes on.
 */
#include "test_vhost_pair.h"

/* --- messages ------------------------------------------------------------------------ */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(stream_ends_inside_a_message),
		cmocka_unit_test(message_may_dribble),
		cmocka_unit_test(replies_that_nobody_reads),
		cmocka_unit_test(bad_memory_tables),
		cmocka_unit_test(foreign_memory_is_left_out),
	};

	return cmocka_run_group_tests_name("vhost_qemu", tests, NULL, NULL);
}
