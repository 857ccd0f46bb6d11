// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The porter's loop, and its children; see porter_process.h. Every descriptor the porter itself
 * has is of a kind whose close() does not wait unless it is the last, and when it closes one, a
 * child or the daemon has another. A child closes nothing by name: it ends.
 */
#include "porter_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdmsg.h"
#include "file.h"
#include "leave.h"
#include "priority.h"

#define ORDERS_PER_TURN 1024	/* the more at a time, the fewer children */
#define AGAIN_MS 1000		/* after a fork that failed; while receipts wait */

struct kept {
	int fd;
	bool let_go;		/* the daemon has closed its copy */
	uint64_t owner;
};

/* A receipt that waits for a place. */
struct due {
	int conn, to;
	uint32_t want;
	uint64_t owner;
};

struct porter {
	int orders, daemon, signals;
	bool ended;		/* no order will come any more */
	unsigned int children, kept_count, due_count;
	struct due due[PORTER_DUE_MAX];
	struct {
		pid_t pid;
		uint64_t owner;
	} child[PORTER_CHILDREN_MAX];
	struct kept kept[PORTER_KEPT_MAX];
};

static struct porter porter;

/* --- a child that receives ------------------------------------------------------ */

static bool is_unix_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return false;
	size = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return false;
	return domain == AF_UNIX && type == SOCK_STREAM;
}

static enum porter_kind anonymous_kind(int fd)
{
	if (ml_fd_is_anon(fd, "eventfd"))
		return PORTER_EVENTFD;
	return ml_fd_is_anon(fd, "userfaultfd") ? PORTER_UFFD : PORTER_OTHER;
}

static void look_at(struct porter_fd *f)
{
	struct statx sx;

	f->kind = is_unix_stream(f->fd) ? PORTER_UNIX_STREAM : anonymous_kind(f->fd);
	/* AT_STATX_DONT_SYNC: a FUSE server, which may be the stranger, is not asked. */
	if (f->kind != PORTER_OTHER ||
	    statx(f->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &sx) < 0)
		return;
	if (S_ISREG(sx.stx_mode)) {
		f->kind = PORTER_FILE;
		f->device = makedev(sx.stx_dev_major, sx.stx_dev_minor);
		f->inode = sx.stx_ino;
	} else if (S_ISCHR(sx.stx_mode)) {
		f->kind = PORTER_CHARDEV;
		f->device = makedev(sx.stx_rdev_major, sx.stx_rdev_minor);
	}
}

/* Takes out what came, and hands over what may be kept. The rest ends with this process. */
void ml_porter_fill(int conn, size_t want, struct porter_receipt *out, int came[ML_FDMSG_MAX])
{
	size_t count = 0;

	out->bytes = ml_fdmsg_receive(conn, out->data, want, came, &count);
	out->fd_count = count;
	for (size_t i = 0; count <= PORTER_FDS_MAX && i < count; i++) {
		out->fds[i].fd = came[i];
		look_at(&out->fds[i]);
	}
}

static void child_receive(int conn, int to, size_t want)
{
	static struct porter_receipt receipt;
	int came[ML_FDMSG_MAX], on[PORTER_FDS_MAX];
	size_t on_count = 0;

	ml_porter_fill(conn, want, &receipt, came);
	for (size_t i = 0; receipt.fd_count <= PORTER_FDS_MAX && i < receipt.fd_count; i++) {
		if (receipt.fds[i].kind >= PORTER_EVENTFD)
			on[on_count++] = receipt.fds[i].fd;
	}
	ml_fdmsg_send(to, &receipt, sizeof(receipt), on, on_count);
}

/* --- children ------------------------------------------------------------------- */

static unsigned int children_of(const struct porter *p, uint64_t owner)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->children; i++)
		n += p->child[i].owner == owner;
	return n;
}

static bool has_place(const struct porter *p, uint64_t owner, unsigned int max)
{
	return p->children < max && children_of(p, owner) < PORTER_OWNER_CHILDREN_MAX;
}

static void note_child(struct porter *p, pid_t pid, uint64_t owner)
{
	p->child[p->children].pid = pid;
	p->child[p->children++].owner = owner;
}

static void reap(struct porter *p)
{
	struct signalfd_siginfo info;
	pid_t pid;

	while (read(p->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (unsigned int i = 0; i < p->children; i++) {
			if (p->child[i].pid == pid) {
				p->child[i] = p->child[--p->children];
				break;
			}
		}
	}
}

static void keep(struct porter *p, int fd, uint64_t owner, bool let_go)
{
	p->kept[p->kept_count++] = (struct kept){ .fd = fd, .owner = owner, .let_go = let_go };
}

static bool is_full(const struct porter *p)
{
	return p->kept_count == PORTER_KEPT_MAX;
}

/* True: it is done with, one way or the other. */
static bool try_receipt(struct porter *p, const struct due *d)
{
	struct pollfd gone = { .fd = d->to };
	pid_t pid;

	if (poll(&gone, 1, 0) == 1) {
		/*
		 * The daemon does without. It has disposed of the connection, too, and this copy
		 * may be the last.
		 */
		if (is_full(p))
			return false;
		keep(p, d->conn, d->owner, true);
		close(d->to);
		return true;
	}
	if (!has_place(p, d->owner, PORTER_CHILDREN_MAX - PORTER_CHILDREN_MAX / 4))
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		child_receive(d->conn, d->to, d->want);
		_exit(0);
	}
	note_child(p, pid, d->owner);
	/* The daemon has the connection, or it is on its way to us. */
	close(d->conn);
	close(d->to);
	return true;
}

/* False: something is left that waits for a place, or for a fork that failed. */
static bool try_receipts(struct porter *p)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < p->due_count; i++) {
		if (!try_receipt(p, &p->due[i]))
			p->due[left++] = p->due[i];
	}
	p->due_count = left;
	return left == 0;
}

/* Close what the daemon has let go of this owner's. */
static bool send_off(struct porter *p, uint64_t owner)
{
	static int going[PORTER_KEPT_MAX];
	unsigned int left = 0, count = 0;
	pid_t pid;

	for (unsigned int i = 0; i < p->kept_count; i++) {
		if (p->kept[i].owner == owner && p->kept[i].let_go)
			going[count++] = p->kept[i].fd;
	}
	pid = ml_leave_to_child(going, count);
	if (pid < 0)
		return false;
	for (unsigned int i = 0; i < p->kept_count; i++) {
		if (p->kept[i].owner != owner || !p->kept[i].let_go)
			p->kept[left++] = p->kept[i];
	}
	p->kept_count = left;
	note_child(p, pid, owner);
	return true;
}

/* An owner who has no place left, but much to close, gets one more for all of it. */
static bool may_send_off(const struct porter *p, uint64_t owner)
{
	unsigned int n = 0;

	if (has_place(p, owner, PORTER_CHILDREN_MAX))
		return true;
	for (unsigned int i = 0; i < p->kept_count; i++)
		n += p->kept[i].owner == owner && p->kept[i].let_go;
	return n >= PORTER_KEPT_OF_OWNER && p->children < PORTER_CHILDREN_MAX;
}

/* False: something is left that could have gone, but a fork failed. */
static bool send_off_all(struct porter *p)
{
	unsigned int i = 0, refused = PORTER_KEPT_MAX;

	while (i < p->kept_count) {
		bool as_before = refused < i && p->kept[refused].owner == p->kept[i].owner;

		if (!p->kept[i].let_go || as_before || !may_send_off(p, p->kept[i].owner)) {
			refused = p->kept[i].let_go ? i : refused;
			i++;
			continue;
		}
		if (!send_off(p, p->kept[i].owner))
			return false;
		i = 0;
		refused = PORTER_KEPT_MAX;
	}
	return true;
}

/* --- the loop ------------------------------------------------------------------- */

/* Without an answer the daemon sees that its end is closed. */
static void take_receipt(struct porter *p, const struct porter_order *order, const int fds[2])
{
	const struct due due = {
		.conn = fds[0], .to = fds[1], .want = order->want, .owner = order->owner,
	};

	if (p->due_count < PORTER_DUE_MAX && due.want > 0 && due.want <= PORTER_BYTES_MAX) {
		p->due[p->due_count++] = due;
		return;
	}
	close(due.conn);
	close(due.to);
}

/* False: none is there. */
static bool take_order(struct porter *p)
{
	int fds[ML_FDMSG_MAX];
	struct porter_order order;
	size_t count;
	ssize_t n = ml_fdmsg_receive(p->orders, &order, sizeof(order), fds, &count);

	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n != (ssize_t)sizeof(order)) {
		p->ended = true;
		return false;
	}
	if (order.what == PORTER_RECEIVE && count == 2) {
		take_receipt(p, &order, fds);
	} else {
		/* Whatever it says, the daemon closed its copies of all before it said it. */
		for (unsigned int i = p->kept_count; i > 0 && !p->kept[i - 1].let_go; i--)
			p->kept[i - 1].let_go = true;
	}
	if (order.what == PORTER_KEEP && count == 1)
		keep(p, fds[0], order.owner, false);
	return true;
}

static void turn(struct porter *p, int timeout_ms)
{
	/* While it is full the daemon is not listened to. */
	struct pollfd fds[] = {
		{ .fd = p->signals, .events = POLLIN },
		{ .fd = is_full(p) ? -1 : p->orders, .events = POLLIN },
	};

	if (poll(fds, 2, timeout_ms) <= 0)
		return;
	if (fds[0].revents)
		reap(p);
	for (int i = 0; fds[1].revents && i < ORDERS_PER_TURN && !is_full(p) && take_order(p); i++)
		;
}

/* The daemon has all of them, too, so none of these is the last of its kind. */
static void close_others(int a, int b)
{
	unsigned int low = (unsigned int)(a < b ? a : b), high = (unsigned int)(a < b ? b : a);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

static void settle_in(struct porter *p, int orders, int daemon)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT };
	cap_t none = cap_init();
	sigset_t set;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "memlease-porter", 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (none)
		cap_set_proc(none);
	cap_free(none);
	ml_priority_ordinary();
	p->orders = orders;
	p->daemon = daemon;
	close_others(orders, daemon);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void ml_porter_main(int orders, int daemon)
{
	struct porter *p = &porter;
	bool done = true;

	settle_in(p, orders, daemon);
	if (p->signals < 0)
		_exit(1);
	while (!p->ended) {
		turn(p, done ? -1 : AGAIN_MS);
		done = try_receipts(p);
		done = send_off_all(p) && done;
	}
	/* Not before the daemon has closed all it had: ours must be the last. */
	poll(&(struct pollfd){ .fd = p->daemon, .events = POLLIN }, 1, -1);
	_exit(0);
}
