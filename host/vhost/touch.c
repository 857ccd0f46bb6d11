// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Touches: see touch.h. The userfaultfd is level-triggered, so what one turn does
 * not read stays for the next, after the other VMs had theirs.
 */
#include "touch.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <fcntl.h>

#include "../base/log.h"
#include "../base/porter.h"
#include "peerfd.h"

void touch_init(struct touch *t, sd_event *event, struct lend_vm *vm, struct ml_quiet *quiet,
		uint64_t owner)
{
	memset(t, 0, sizeof(*t));
	t->event = event;
	t->vm = vm;
	t->quiet = quiet;
	t->owner = owner;
	t->fd = -1;
}

void touch_close(struct touch *t)
{
	t->source = sd_event_source_disable_unref(t->source);
	ml_porter_dispose(t->owner, t->fd);
	t->fd = -1;
}

static void touch_wake_range(struct touch *t, uint64_t start, uint64_t len)
{
	struct uffdio_range range = { .start = start, .len = len };

	/* ESRCH: QEMU is going. EAGAIN: its address space is changing. Others: it gave nonsense. */
	while (t->fd >= 0 && len > 0 && ioctl(t->fd, UFFDIO_WAKE, &range) < 0) {
		if (errno != EINTR) {
			if (errno != ESRCH && quiet_allows(t->quiet, t->event))
				ml_warn("vm %s: waking 0x%" PRIx64 " in QEMU failed: %s",
					lend_vm_name(t->vm), start, strerror(errno));
			return;
		}
	}
}

void touch_wake(struct touch *t, enum memlease_region region, uint64_t slot)
{
	touch_wake_range(t, t->hva[region] + slot * MEMLEASE_BLOCK_BYTES, MEMLEASE_BLOCK_BYTES);
}

static void touch_one(struct touch *t, uint64_t address)
{
	for (int region = 0; region < MEMLEASE_REGION_COUNT; region++) {
		uint64_t slot = (address - t->hva[region]) / MEMLEASE_BLOCK_BYTES;
		int r;

		if (address < t->hva[region] || address - t->hva[region] >= t->bytes[region])
			continue;
		r = lend_touch(t->vm, region, slot);
		if (r == 0)
			touch_wake(t, region, slot);
		else if (r != -EAGAIN && r != -EACCES && quiet_allows(t->quiet, t->event))
			ml_err("vm %s: a touch of slot %" PRIu64 " of %s cannot be served: %s; its vCPU waits",
			       lend_vm_name(t->vm), slot,
			       region == MEMLEASE_REGION_BOOT ? "boot memory" : "the window",
			       strerror(-r));
		return;
	}
	if (quiet_allows(t->quiet, t->event))
		ml_warn("vm %s: a touch of 0x%" PRIx64 " in QEMU, which is neither boot memory nor window, is left alone",
			lend_vm_name(t->vm), address);
}

static void touch_event(struct touch *t, const struct uffd_msg *msg)
{
	if (msg->event == UFFD_EVENT_PAGEFAULT) {
		touch_one(t, msg->arg.pagefault.address);
		return;
	}
	/* Reading a fork event adds a descriptor of the child's userfaultfd to this process. */
	if (msg->event == UFFD_EVENT_FORK)
		ml_porter_dispose(t->owner, (int)msg->arg.fork.ufd);
	if (quiet_allows(t->quiet, t->event))
		ml_warn("vm %s: userfaultfd event 0x%x is of no interest", lend_vm_name(t->vm),
			msg->event);
}

static int touch_ready(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct uffd_msg msg[TOUCHES_PER_TURN];
	struct touch *t = arg;
	ssize_t n;

	(void)source;
	if (!(events & EPOLLIN))
		n = -EDEADLK;	/* the kernel's word for a userfaultfd that would block */
	else
		n = peerfd_read(fd, msg, sizeof(msg));
	/* One that blocks now and then, and no more when it is looked at, is not read for ever. */
	if (n == -EAGAIN || (n == -EINTR && ++t->interrupted < TOUCH_INTERRUPTED_MOST))
		return 0;
	if (n >= 0)
		t->interrupted = 0;
	if (n < 0) {
		ml_warn("vm %s: its userfaultfd cannot be read: %s; touches wait until QEMU hands over another",
			lend_vm_name(t->vm), peerfd_error((int)n));
		touch_close(t);
		return 0;
	}
	for (size_t i = 0; i < (size_t)n / sizeof(*msg); i++)
		touch_event(t, &msg[i]);
	return 0;
}

int touch_serve(struct touch *t, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT])
{
	int r;

	touch_close(t);
	t->fd = fd;
	t->interrupted = 0;
	/* Polling one that would block gives an error only. */
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		r = -errno;
		touch_close(t);
		return r;
	}
	for (int region = 0; region < MEMLEASE_REGION_COUNT; region++) {
		t->hva[region] = hva[region];
		t->bytes[region] = lend_region_blocks(t->vm, region) * MEMLEASE_BLOCK_BYTES;
	}
	r = sd_event_add_io(t->event, &t->source, fd, EPOLLIN, touch_ready, t);
	if (r < 0) {
		touch_close(t);
		return r;
	}
	for (int region = 0; region < MEMLEASE_REGION_COUNT; region++)
		touch_wake_range(t, t->hva[region], t->bytes[region]);
	return 0;
}
