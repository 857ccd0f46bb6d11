/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rig for the tests of host/vhost/: a real lender on a temporary tmpfs folder,
 * a real server, and for each VM a pretended QEMU and guest, which speak over the
 * real socket and have the real files mapped. Included by the test_vhost_*.c;
 * each of them uses a part of it.
 *
 * Guest-physical memory is laid out as on a PC: boot memory has the hole under
 * 1 MiB, ends, and goes on at 4 GiB; the window lies above.
 */
#ifndef TEST_VHOST_RIG_H
#define TEST_VHOST_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../host/base/log.h"
#include "../../host/base/porter.h"
#include "../../host/vhost/message.h"
#include "../../host/vhost/protocol.h"
#include "../../host/vhost/vhost.h"
#include "../../proto/memlease_vhost.h"
#include "../lib/lend_validate.h"

#define RIG_RECEIPT_US 60000000	/* generous: sanitizers, and others on the machine */
#define RIG_UNUSED __attribute__((unused))
#define BLOCK MEMLEASE_BLOCK_BYTES
#define MIB (1024 * 1024ULL)
#define GIB (1024 * MIB)

#define RIG_BOOT 16		/* slots of boot memory: 4 below the hole, 12 from 4 GiB on */
#define RIG_LOW 4
#define RIG_HIGH_SLOT (4 * GIB / BLOCK)
#ifndef RIG_WINDOW
#define RIG_WINDOW 32		/* slots of the window */
#endif
#define RIG_WINDOW_GPA (64 * GIB)
#define RIG_NUM 64		/* descriptors of a queue */

/* Where things lie in boot memory: rings in slot 1, buffers in slot 2. */
#define RIG_RING_GPA(q) (BLOCK + (uint64_t)(q) * 0x10000)
#define RIG_DESC 0
#define RIG_AVAIL 0x4000
#define RIG_USED 0x8000
#define RIG_BUFFER_GPA (2 * BLOCK)
#define RIG_BUFFER_STRIDE 4096
#define RIG_TABLE_GPA (2 * BLOCK + BLOCK / 2)	/* for indirect tables */

#define RIG_FEATURES (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES | \
		      1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << MEMLEASE_F_REPORTING | \
		      1ULL << MEMLEASE_F_STATS | 1ULL << MEMLEASE_F_QUERY)

struct rig {
	char dir[64];
	char state_dir[80], pool_dir[80], ledger[80];
	sd_event *event;
	struct lender *lender;
	struct vhost_server *server;
	struct vhost_store store;
	int stored, dropped;		/* calls of the store's hooks */
	int stored_fd;			/* what store_fd() was given last, our copy */
	uint64_t pool_blocks;
	int ended, broken, stopped;	/* events of the lender */
	char last_text[200];
};

struct guest {
	struct rig *rig;
	struct lend_vm *vm;
	char path[100];
	int fd;				/* the connection */
	int backend;			/* QEMU's end of the back-end channel */
	uint8_t *boot, *window;		/* as QEMU has them mapped */
	int boot_fd, window_fd;
	int kick[MEMLEASE_VQ_COUNT], call[MEMLEASE_VQ_COUNT];
	uint64_t features;
	uint16_t avail[MEMLEASE_VQ_COUNT];	/* driver's index */
	uint16_t seen[MEMLEASE_VQ_COUNT];	/* used entries looked at */
	uint16_t next_desc[MEMLEASE_VQ_COUNT];
};

static const struct ml_clock *rig_clock = &ml_clock_real;	/* of rigs that start from now on */

/* --- the rig ----------------------------------------------------------------- */

static void rig_on_event(void *ctx, const struct lend_event *e)
{
	struct rig *r = ctx;

	r->ended += e->type == LEND_EV_VM_ENDED;
	r->broken += e->type == LEND_EV_VM_BROKEN;
	r->stopped += e->type == LEND_EV_VM_STOPPED;
	if (e->text)
		snprintf(r->last_text, sizeof(r->last_text), "%s", e->text);
}

static void rig_store_fd(void *ctx, const char *name, int fd)
{
	struct rig *r = ctx;

	assert_int_equal(strncmp(name, "uffd.", 5), 0);
	r->stored++;
	if (r->stored_fd >= 0)
		close(r->stored_fd);
	r->stored_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void rig_drop_fd(void *ctx, const char *name)
{
	assert_int_equal(strncmp(name, "uffd.", 5), 0);
	((struct rig *)ctx)->dropped++;
}

/* Start a daemon's life on what is in the folder. */
static void rig_start(struct rig *r)
{
	struct lender_config config = {
		.state_dir = r->state_dir,
		.pool_dir = r->pool_dir,
		.ledger_path = r->ledger,
		.pool_blocks = r->pool_blocks,
		.overbook_percent = 0,
		.period_s = 60,
		.clock = rig_clock,
	};
	struct lend_hooks hooks = {
		.served = vhost_on_served,
		.config_changed = vhost_on_config_changed,
		.guest_event = vhost_on_guest_event,
		.event = rig_on_event,
		.ctx = r,
	};

	r->store = (struct vhost_store){ rig_store_fd, rig_drop_fd, r };
	assert_int_equal(sd_event_new(&r->event), 0);
	assert_int_equal(lender_open(&r->lender, &config, &hooks), 0);
	assert_int_equal(vhost_new(&r->server, r->event, r->lender, &r->store), 0);
}

static void rig_stop(struct rig *r)
{
	vhost_free(r->server);
	lender_close(r->lender);
	r->event = sd_event_unref(r->event);
}

static struct rig *rig_new(uint64_t pool_blocks)
{
	struct rig *r = calloc(1, sizeof(*r));
	const char *base = getenv("MEMLEASE_TEST_TMPFS");

	assert_non_null(r);
	ml_log_set_level(getenv("MEMLEASE_TEST_LOG") ? ML_LOG_DEBUG : ML_LOG_ERR);
	r->stored_fd = -1;
	r->pool_blocks = pool_blocks;
	snprintf(r->dir, sizeof(r->dir), "%s/ml-vhost-XXXXXX", base ? base : "/dev/shm");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->state_dir, sizeof(r->state_dir), "%s/state", r->dir);
	snprintf(r->pool_dir, sizeof(r->pool_dir), "%s/pool", r->dir);
	snprintf(r->ledger, sizeof(r->ledger), "%s/ledger.db", r->dir);
	assert_int_equal(mkdir(r->state_dir, 0700), 0);
	assert_int_equal(mkdir(r->pool_dir, 0700), 0);
	rig_start(r);
	return r;
}

static void rig_free(struct rig *r)
{
	char command[120];

	rig_stop(r);
	if (r->stored_fd >= 0)
		close(r->stored_fd);
	snprintf(command, sizeof(command), "rm -rf '%s'", r->dir);
	assert_int_equal(system(command), 0);
	free(r);
}

/* Turn the event loop until nothing is left to do at once. */
static void rig_spin(struct rig *r)
{
	for (int i = 0; i < 100000; i++) {
		int n = sd_event_run(r->event, 0);

		assert_true(n >= 0);
		/* What the porter receives is waited for. */
		if (n == 0 && ml_porter_open_receipts())
			n = sd_event_run(r->event, RIG_RECEIPT_US);
		assert_true(n >= 0);
		if (n == 0)
			return;
	}
	fail_msg("the event loop does not come to rest");
}

/* --- messages ------------------------------------------------------------------ */

static RIG_UNUSED bool send_raw(int fd, const void *bytes, size_t size, const int *fds,
				unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 32)];
	} control;
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		hdr.msg_control = &control;
		hdr.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	return sendmsg(fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

static RIG_UNUSED bool send_msg(struct guest *g, uint32_t request, uint32_t flags,
				const void *payload, uint32_t size, const int *fds,
				unsigned int count)
{
	uint8_t bytes[2048];
	struct message_header h = { request, MESSAGE_VERSION | flags, size };

	assert_true(size <= sizeof(bytes) - sizeof(h));
	memcpy(bytes, &h, sizeof(h));
	if (size)
		memcpy(bytes + sizeof(h), payload, size);
	return send_raw(g->fd, bytes, sizeof(h) + size, fds, count);
}

/* The reply to `request`, of exactly `size` bytes. */
static RIG_UNUSED void get_reply(struct guest *g, uint32_t request, void *payload, size_t size)
{
	struct message_header h;

	rig_spin(g->rig);
	assert_int_equal(recv(g->fd, &h, sizeof(h), MSG_DONTWAIT), sizeof(h));
	assert_int_equal(h.request, request);
	assert_int_equal(h.flags, MESSAGE_VERSION | MESSAGE_REPLY);
	assert_int_equal(h.size, size);
	assert_int_equal(recv(g->fd, payload, size, MSG_DONTWAIT), size);
}

/* Send, and have it acknowledged: 0 or 1. */
static RIG_UNUSED uint64_t send_acked(struct guest *g, uint32_t request, const void *payload,
				      uint32_t size, const int *fds, unsigned int count)
{
	uint64_t ack = 77;

	assert_true(send_msg(g, request, MESSAGE_NEED_REPLY, payload, size, fds, count));
	get_reply(g, request, &ack, sizeof(ack));
	return ack;
}

static RIG_UNUSED void send_u64(struct guest *g, uint32_t request, uint64_t value)
{
	assert_true(send_msg(g, request, 0, &value, sizeof(value), NULL, 0));
}

static RIG_UNUSED uint64_t ask_u64(struct guest *g, uint32_t request)
{
	uint64_t value = 0;

	assert_true(send_msg(g, request, 0, NULL, 0, NULL, 0));
	get_reply(g, request, &value, sizeof(value));
	return value;
}

static RIG_UNUSED bool connection_closed(struct guest *g)
{
	char byte;
	ssize_t n;

	rig_spin(g->rig);
	do {
		n = recv(g->fd, &byte, 1, MSG_DONTWAIT);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

/* --- QEMU ------------------------------------------------------------------------ */

static void guest_connect_only(struct guest *g)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	g->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(g->fd >= 0);
	assert_int_equal(connect(g->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	rig_spin(g->rig);
}

static void guest_negotiate(struct guest *g)
{
	int pair[2];

	assert_int_equal(ask_u64(g, VHOST_USER_GET_FEATURES) & RIG_FEATURES, RIG_FEATURES);
	send_u64(g, VHOST_USER_SET_PROTOCOL_FEATURES,
		 ask_u64(g, VHOST_USER_GET_PROTOCOL_FEATURES));
	assert_true(send_msg(g, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(send_acked(g, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	g->backend = pair[0];
}

struct rig_table {
	uint32_t count, padding;
	struct {
		uint64_t gpa, bytes, user, off;
	} r[8];
};

static RIG_UNUSED uint32_t table_bytes(const struct rig_table *t)
{
	return 8 + t->count * 32;
}

/* As QEMU has it on a PC. */
static RIG_UNUSED void guest_table(const struct guest *g, struct rig_table *t, int fds[8])
{
	uint64_t boot = (uint64_t)(uintptr_t)g->boot, low = RIG_LOW * BLOCK;

	*t = (struct rig_table){
		.count = 4,
		.r = {
			{ 0, 0xa0000, boot, 0 },
			{ 0xc0000, low - 0xc0000, boot + 0xc0000, 0xc0000 },
			{ 4 * GIB, (RIG_BOOT - RIG_LOW) * BLOCK, boot + low, low },
			{ RIG_WINDOW_GPA, RIG_WINDOW * BLOCK, (uint64_t)(uintptr_t)g->window, 0 },
		},
	};
	fds[0] = fds[1] = fds[2] = g->boot_fd;
	fds[3] = g->window_fd;
}

static RIG_UNUSED uint64_t guest_send_table(struct guest *g, const struct rig_table *t,
					    const int *fds)
{
	return send_acked(g, VHOST_USER_SET_MEM_TABLE, t, table_bytes(t), fds, t->count);
}

static void send_state(struct guest *g, uint32_t request, uint32_t index, uint32_t num)
{
	uint32_t s[2] = { index, num };

	assert_true(send_msg(g, request, 0, s, sizeof(s), NULL, 0));
}

static void send_file(struct guest *g, uint32_t request, unsigned int index, int fd)
{
	uint64_t word = index | (fd < 0 ? VHOST_USER_VRING_NOFD : 0);

	assert_true(send_msg(g, request, 0, &word, sizeof(word), &fd, fd < 0 ? 0 : 1));
}

/* Boot memory at a guest-physical address below the hole's end. */
static uint8_t *at(const struct guest *g, uint64_t gpa)
{
	assert_true(gpa < RIG_LOW * BLOCK);
	return g->boot + gpa;
}

static RIG_UNUSED void send_addr(struct guest *g, unsigned int q, const void *desc,
				 const void *used, const void *avail)
{
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} a = {
		q, 0, (uint64_t)(uintptr_t)desc, (uint64_t)(uintptr_t)used,
		(uint64_t)(uintptr_t)avail, 0,
	};

	assert_true(send_msg(g, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0));
}

static void guest_start_queue(struct guest *g, unsigned int q, uint16_t base)
{
	uint64_t ring = RIG_RING_GPA(q);
	uint32_t enable[2] = { q, 1 };

	send_state(g, VHOST_USER_SET_VRING_NUM, q, RIG_NUM);
	send_state(g, VHOST_USER_SET_VRING_BASE, q, base);
	send_addr(g, q, at(g, ring + RIG_DESC), at(g, ring + RIG_USED), at(g, ring + RIG_AVAIL));
	send_file(g, VHOST_USER_SET_VRING_CALL, q, g->call[q]);
	send_file(g, VHOST_USER_SET_VRING_KICK, q, g->kick[q]);
	assert_int_equal(send_acked(g, VHOST_USER_SET_VRING_ENABLE, enable, sizeof(enable), NULL, 0),
			 0);
}

/* vhost_dev_start() of QEMU. */
static void guest_start(struct guest *g, uint64_t features)
{
	struct rig_table t;
	int fds[8];

	g->features = features;
	send_u64(g, VHOST_USER_SET_FEATURES, features);
	guest_table(g, &t, fds);
	assert_int_equal(guest_send_table(g, &t, fds), 0);
	for (unsigned int q = 0; q < MEMLEASE_VQ_COUNT; q++)
		guest_start_queue(g, q, g->seen[q]);
}

/* vhost_dev_stop() of QEMU; the bases as the device gives them. */
static RIG_UNUSED void guest_stop(struct guest *g, uint16_t base[MEMLEASE_VQ_COUNT])
{
	for (unsigned int q = 0; q < MEMLEASE_VQ_COUNT; q++) {
		uint32_t s[2] = { q, 0 };

		assert_true(send_msg(g, VHOST_USER_GET_VRING_BASE, 0, s, sizeof(s), NULL, 0));
		get_reply(g, VHOST_USER_GET_VRING_BASE, s, sizeof(s));
		assert_int_equal(s[0], q);
		if (base)
			base[q] = (uint16_t)s[1];
	}
}

static uint8_t *map_file(const char *path, uint64_t bytes, int *fd)
{
	void *p;

	*fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(*fd >= 0);
	p = mmap(NULL, bytes + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	/* 2 MiB aligned, as QEMU does for align=2M; the rest of the reservation stays. */
	p = (void *)(((uintptr_t)p + BLOCK - 1) & ~(uintptr_t)(BLOCK - 1));
	p = mmap(p, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static struct guest *guest_define(struct rig *r, const char *name)
{
	struct vm_spec spec = {
		.boot_blocks = RIG_BOOT,
		.limit_blocks = RIG_BOOT + RIG_WINDOW,
		.guarantee_blocks = 0,
		.weight = 100,
	};
	struct guest *g = calloc(1, sizeof(*g));
	struct ml_why why = { "" };

	assert_non_null(g);
	snprintf(spec.name, sizeof(spec.name), "%s", name);
	snprintf(spec.tenant, sizeof(spec.tenant), "t");
	snprintf(spec.plan, sizeof(spec.plan), "std");
	g->rig = r;
	g->fd = g->backend = -1;
	if (lend_vm_create(r->lender, &spec, &g->vm, &why) != 0)
		fail_msg("%s", why.text);
	snprintf(g->path, sizeof(g->path), "%s/%s.sock", r->dir, name);
	assert_int_equal(vhost_vm_listen(r->server, g->vm, g->path), 0);
	g->boot = map_file(lend_region_path(g->vm, MEMLEASE_REGION_BOOT), RIG_BOOT * BLOCK,
			   &g->boot_fd);
	g->window = map_file(lend_region_path(g->vm, MEMLEASE_REGION_WINDOW), RIG_WINDOW * BLOCK,
			     &g->window_fd);
	for (int q = 0; q < MEMLEASE_VQ_COUNT; q++) {
		g->kick[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		g->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	return g;
}

static void touch_rings(struct guest *g)
{
	/* There is no userfaultfd here: have the lender put in what the guest writes. */
	for (uint64_t slot = 0; slot < RIG_LOW; slot++)
		assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_BOOT, slot), 0);
}

static RIG_UNUSED struct guest *guest_new(struct rig *r, const char *name)
{
	struct guest *g = guest_define(r, name);

	touch_rings(g);
	guest_connect_only(g);
	guest_negotiate(g);
	guest_start(g, RIG_FEATURES);
	return g;
}

static RIG_UNUSED void guest_disconnect(struct guest *g)
{
	if (g->fd >= 0)
		close(g->fd);
	if (g->backend >= 0)
		close(g->backend);
	g->fd = g->backend = -1;
	rig_spin(g->rig);
}

static RIG_UNUSED void guest_free(struct guest *g)
{
	guest_disconnect(g);
	munmap(g->boot, RIG_BOOT * BLOCK);
	munmap(g->window, RIG_WINDOW * BLOCK);
	close(g->boot_fd);
	close(g->window_fd);
	for (int q = 0; q < MEMLEASE_VQ_COUNT; q++) {
		close(g->kick[q]);
		close(g->call[q]);
	}
	free(g);
}

#include "test_vhost_driver.h"

/* Was QEMU told that the config space changed? */
static inline bool config_change_told(struct guest *g)
{
	struct message_header h;

	rig_spin(g->rig);
	if (recv(g->backend, &h, sizeof(h), MSG_DONTWAIT) != sizeof(h))
		return false;
	assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(h.flags, MESSAGE_VERSION);
	assert_int_equal(h.size, 0);
	return true;
}

#endif /* TEST_VHOST_RIG_H */
