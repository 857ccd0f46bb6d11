// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The porter: what a look at a stranger's connection tells and leaves alone, what is sent on of
 * what came, that whatever is disposed of is closed, and that nobody here waits for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../../host/base/fdmsg.h"
#include "../../host/base/log.h"
#include "../../host/base/porter.h"
#include "lingering.h"

#define ME 1
#define LONG_MS 60000	/* for what is stuck, not for what is slow */

struct wire {
	int ours, theirs;	/* a connection of a stranger's */
};

static struct wire wire_new(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ml_peek_prepare(pair[0]);
	return (struct wire){ pair[0], pair[1] };
}

/* The stranger sends, and keeps no copy. */
static void sends(struct wire w, const char *text, const int *fds, size_t count)
{
	assert_int_equal(ml_fdmsg_send(w.theirs, text, strlen(text), fds, count), 0);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static int take(uint64_t owner, int receipt, struct porter_receipt *got)
{
	struct pollfd p = { .fd = receipt, .events = POLLIN };

	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	return ml_porter_take(owner, receipt, got);
}

static int receive(uint64_t owner, struct wire w, size_t want, struct porter_receipt *got)
{
	int receipt;

	assert_int_equal(ml_porter_receive(owner, w.ours, want, &receipt), 0);
	return take(owner, receipt, got);
}

/* Does the other end of this pipe's last copy go? */
static bool closes(int read_end)
{
	struct pollfd p = { .fd = read_end, .events = POLLIN };
	char byte;

	return poll(&p, 1, LONG_MS) == 1 && read(read_end, &byte, 1) == 0;
}

static void a_look_takes_nothing(void **state)
{
	struct wire w = wire_new();
	struct porter_receipt got;
	int ends[2], fds[1];
	char bytes[64];
	bool came;

	(void)state;
	assert_int_equal(ml_peek(w.ours, bytes, sizeof(bytes), &came), -EAGAIN);
	sends(w, "plain", NULL, 0);
	assert_int_equal(ml_peek(w.ours, bytes, sizeof(bytes), &came), 5);
	assert_false(came);
	assert_int_equal(recv(w.ours, bytes, 5, 0), 5);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = ends[1];
	sends(w, "with one", fds, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ml_peek(w.ours, bytes, sizeof(bytes), &came), 8);
		assert_true(came);
	}
	assert_int_equal(receive(ME, w, 4, &got), 0);
	assert_int_equal(got.bytes, 4);
	assert_memory_equal(got.data, "with", 4);
	assert_int_equal(got.fd_count, 1);
	assert_int_equal(got.fds[0].fd, -1);
	assert_true(closes(ends[0]));
	/* The rest has none. */
	assert_int_equal(ml_peek(w.ours, bytes, sizeof(bytes), &came), 4);
	assert_false(came);
	close(ends[0]);
	close(w.theirs);
	ml_hang_up(ME, w.ours);
}

static void kinds(void **state)
{
	struct wire w = wire_new();
	struct porter_receipt got;
	int fds[6], inner[2], file = memfd_create("mine", MFD_CLOEXEC);
	struct stat st, null;

	(void)state;
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(stat("/dev/null", &null), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inner), 0);
	fds[0] = eventfd(0, EFD_CLOEXEC);
	fds[1] = fcntl(file, F_DUPFD_CLOEXEC, 0);
	fds[2] = inner[0];
	fds[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[4] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	fds[5] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sends(w, "x", fds, 6);
	assert_int_equal(receive(ME, w, 1, &got), 0);
	assert_int_equal(got.fd_count, 6);
	assert_int_equal(got.fds[0].kind, PORTER_EVENTFD);
	assert_int_equal(eventfd_write(got.fds[0].fd, 1), 0);
	assert_int_equal(got.fds[1].kind, PORTER_FILE);
	assert_int_equal(got.fds[1].fd, -1);
	assert_int_equal(got.fds[1].inode, st.st_ino);
	assert_int_equal(got.fds[1].device, st.st_dev);
	assert_int_equal(got.fds[2].kind, PORTER_UNIX_STREAM);
	assert_int_equal(send(inner[1], "y", 1, 0), 1);
	assert_int_equal(recv(got.fds[2].fd, &(char){ 0 }, 1, MSG_DONTWAIT), 1);
	assert_int_equal(got.fds[3].kind, PORTER_CHARDEV);
	assert_int_equal(got.fds[3].device, null.st_rdev);
	assert_int_equal(got.fds[4].kind, PORTER_OTHER);
	assert_int_equal(got.fds[5].kind, PORTER_OTHER);
	for (int i = 3; i < 6; i++)
		assert_int_equal(got.fds[i].fd, -1);
	ml_porter_dispose(ME, got.fds[0].fd);
	ml_hang_up(ME, got.fds[2].fd);
	assert_int_equal(recv(inner[1], &(char){ 0 }, 1, 0), 0);
	close(inner[1]);
	close(file);
	close(w.theirs);
	ml_hang_up(ME, w.ours);
}

static void too_many(void **state)
{
	struct wire w = wire_new();
	struct porter_receipt got;
	int fds[PORTER_FDS_MAX + 1];

	(void)state;
	for (int i = 0; i <= PORTER_FDS_MAX; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	sends(w, "x", fds, PORTER_FDS_MAX + 1);
	assert_int_equal(receive(ME, w, 1, &got), 0);
	assert_int_equal(got.fd_count, PORTER_FDS_MAX + 1);
	close(w.theirs);
	ml_hang_up(ME, w.ours);
}

/* In a message, in the queue of a connection, behind a receipt that nobody takes. */
static void nobody_waits(void **state)
{
	uint64_t before = now_ms();
	struct porter_receipt got;
	int fd, other[4], receipt, inner[2];
	struct wire w = wire_new();

	(void)state;
	fd = lingering(&other[0]);
	sends(w, "x", &fd, 1);
	assert_int_equal(receive(ME, w, 1, &got), 0);
	fd = lingering(&other[1]);
	sends(w, "x", &fd, 1);
	close(w.theirs);
	ml_hang_up(ME, w.ours);
	/* A socket that is sent on, with one in its queue; nobody takes the receipt. */
	w = wire_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inner), 0);
	fd = lingering(&other[2]);
	sends((struct wire){ -1, inner[1] }, "x", &fd, 1);
	sends(w, "x", &inner[0], 1);
	assert_int_equal(ml_porter_receive(ME, w.ours, 1, &receipt), 0);
	poll(&(struct pollfd){ .fd = receipt, .events = POLLIN }, 1, LONG_MS);
	ml_porter_forget(ME, receipt);
	assert_int_equal(ml_porter_open_receipts(), 0);
	close(inner[1]);
	close(w.theirs);
	ml_hang_up(ME, w.ours);
	ml_porter_dispose(ME, lingering(&other[3]));
	assert_true(now_ms() - before < SOON_MS);
	for (int i = 0; i < 4; i++)
		close(other[i]);
}

static void backlog_of_a_listener(void **state)
{
	struct sockaddr_un_any {
		sa_family_t family;
		char path[108];
	} addr = { .family = AF_UNIX };
	uint64_t before = now_ms();
	struct wire w = { -1, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, other;
	socklen_t len = sizeof(addr);

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr.family)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(connect(w.theirs, (struct sockaddr *)&addr, len), 0);
	fd = lingering(&other);
	sends(w, "x", &fd, 1);
	ml_stop_listening(ME, listener);
	assert_true(now_ms() - before < SOON_MS);
	close(w.theirs);
	close(other);
}

static void many_at_once(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (int i = 0; i < 2000; i++)
		ml_porter_dispose(i % 100, fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
	close(ends[1]);
	ml_porter_finish(LONG_MS);
	assert_true(closes(ends[0]));
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_look_takes_nothing),
		cmocka_unit_test(kinds),
		cmocka_unit_test(too_many),
		cmocka_unit_test(nobody_waits),
		cmocka_unit_test(backlog_of_a_listener),
		cmocka_unit_test(many_at_once),
	};

	ml_log_set_level(ML_LOG_INFO);
	if (ml_porter_start())
		return 1;
	return cmocka_run_group_tests_name("porter", tests, NULL, NULL);
}
