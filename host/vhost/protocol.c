// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user protocol as memlease speaks it: one handler per message, and a
 * table that says what size and how many descriptors each message has. Called by
 * vhost.c for each complete message.
 */
#include "protocol.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../../proto/memlease_vhost.h"
#include "../base/log.h"
#include "../base/porter.h"
#include "device.h"
#include "uffd.h"

/* Payloads, in the host's byte order, as docs/interop/vhost-user of QEMU has them. */
struct vring_state_msg {
	uint32_t index;
	uint32_t num;
};

struct vring_addr_msg {
	uint32_t index;
	uint32_t flags;
	uint64_t desc_user;
	uint64_t used_user;
	uint64_t avail_user;
	uint64_t log_gpa;
};

struct mem_table_msg {
	uint32_t count;
	uint32_t padding;
	struct gmem_table_entry regions[VHOST_USER_MEM_REGIONS_MAX];
};

struct config_msg {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VHOST_USER_CONFIG_MAX];
};

#define CONFIG_HEAD offsetof(struct config_msg, bytes)
#define MEM_TABLE_HEAD offsetof(struct mem_table_msg, regions)

_Static_assert(sizeof(struct mem_table_msg) == 264 && sizeof(struct config_msg) == 268 &&
	       sizeof(struct vring_addr_msg) == 40, "payloads as on the wire");

/* A handler returns 0, -EINVAL (refused; QEMU is told if it asked), or -EPROTO (connection closed). */

static int reply(struct vhost_device *d, const struct message *m, const void *payload, size_t size)
{
	return message_reply(&d->stream, m->header.request, payload, size);
}

static uint64_t payload_u64(const struct message *m)
{
	uint64_t v;

	memcpy(&v, m->payload, sizeof(v));
	return v;
}

static int handle_get_features(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint64_t features = device_features();

	(void)why;
	return reply(d, m, &features, sizeof(features));
}

static int handle_set_features(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint64_t features = payload_u64(m);

	if (features & ~device_features())
		return ml_refuse(why, -EPROTO,
				 "features 0x%" PRIx64 " were not offered; 0x%" PRIx64 " are",
				 features, device_features());
	d->features = features;
	d->has_features = true;
	if (!(features & (1ULL << VHOST_USER_F_PROTOCOL_FEATURES)))
		for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
			d->queue[i].enabled = true;
	device_remap(d);
	return 0;
}

static int handle_get_protocol_features(struct vhost_device *d, struct message *m,
					struct ml_why *why)
{
	uint64_t features = device_protocol_features();

	(void)why;
	return reply(d, m, &features, sizeof(features));
}

static int handle_set_protocol_features(struct vhost_device *d, struct message *m,
					struct ml_why *why)
{
	uint64_t features = payload_u64(m);

	if (features & ~device_protocol_features())
		return ml_refuse(why, -EPROTO,
				 "protocol features 0x%" PRIx64 " were not offered; 0x%" PRIx64 " are",
				 features, device_protocol_features());
	d->protocol_features = features;
	return 0;
}

static int handle_set_owner(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	(void)d, (void)m, (void)why;	/* whoever is connected owns the device */
	return 0;
}

static int handle_reset_owner(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	(void)m, (void)why;
	device_stop(d);
	return 0;
}

static int handle_set_mem_table(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	struct mem_table_msg table;
	int r;

	memcpy(&table, m->payload, sizeof(table));
	if (table.count > VHOST_USER_MEM_REGIONS_MAX ||
	    m->header.size != MEM_TABLE_HEAD + table.count * sizeof(*table.regions) ||
	    m->fd_count != table.count)
		return ml_refuse(why, -EPROTO,
				 "a memory table of %u regions has %u bytes and %u descriptors",
				 table.count, m->header.size, m->fd_count);
	r = gmem_set_table(&d->gmem, table.regions, m->fds, table.count, why);
	device_remap(d);
	return r < 0 ? -EINVAL : 0;
}

/* The queue a message speaks of, stopped; NULL and why otherwise. */
static struct virtq *stopped_queue(struct vhost_device *d, uint32_t index, struct ml_why *why)
{
	if (index >= MEMLEASE_VQ_COUNT) {
		ml_refuse(why, 0, "queue %u does not exist; there are %u", index,
			  MEMLEASE_VQ_COUNT);
		return NULL;
	}
	if (d->queue[index].kick_fd >= 0) {
		ml_refuse(why, 0, "queue %u is set up while it runs", index);
		return NULL;
	}
	return &d->queue[index];
}

static int handle_set_vring_num(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	struct vring_state_msg s;
	struct virtq *q;

	memcpy(&s, m->payload, sizeof(s));
	q = stopped_queue(d, s.index, why);
	if (!q)
		return -EPROTO;
	if (s.num == 0 || s.num > MEMLEASE_VQ_MAX_SIZE || (s.num & (s.num - 1)))
		return ml_refuse(why, -EPROTO,
				 "queue %u cannot have %u descriptors; powers of 2 up to %u are possible",
				 s.index, s.num, MEMLEASE_VQ_MAX_SIZE);
	q->num = s.num;
	return 0;
}

static int handle_set_vring_addr(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	struct vring_addr_msg a;
	struct virtq *q;

	memcpy(&a, m->payload, sizeof(a));
	q = stopped_queue(d, a.index, why);
	if (!q)
		return -EPROTO;
	if (a.flags)
		return ml_refuse(why, -EPROTO, "queue %u: flags 0x%x; logging is not supported",
				 a.index, a.flags);
	if (a.desc_user % 16 || a.avail_user % 2 || a.used_user % 4)
		return ml_refuse(why, -EPROTO,
				 "queue %u: addresses 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 " are not aligned to 16, 2 and 4 bytes",
				 a.index, a.desc_user, a.avail_user, a.used_user);
	q->desc_user = a.desc_user;
	q->avail_user = a.avail_user;
	q->used_user = a.used_user;
	q->has_addr = true;
	return 0;
}

static int handle_set_vring_base(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	struct vring_state_msg s;
	struct virtq *q;

	memcpy(&s, m->payload, sizeof(s));
	q = stopped_queue(d, s.index, why);
	if (!q)
		return -EPROTO;
	if (s.num > UINT16_MAX)
		return ml_refuse(why, -EPROTO, "queue %u cannot start at index %u", s.index, s.num);
	q->last_avail = (uint16_t)s.num;
	return 0;
}

static int handle_get_vring_base(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	struct vring_state_msg s;

	memcpy(&s, m->payload, sizeof(s));
	if (s.index >= MEMLEASE_VQ_COUNT)
		return ml_refuse(why, -EPROTO, "queue %u does not exist; there are %u", s.index,
				 MEMLEASE_VQ_COUNT);
	device_stop_queue(d, s.index);
	s.num = d->queue[s.index].last_avail;
	return reply(d, m, &s, sizeof(s));
}

/* Index and descriptor of SET_VRING_KICK, CALL, ERR. *fd: taken, or -1. */
static int take_vring_file(struct message *m, uint32_t *index, int *fd, struct ml_why *why)
{
	uint64_t word = payload_u64(m);
	unsigned int want = word & VHOST_USER_VRING_NOFD ? 0 : 1;

	*fd = -1;
	*index = (uint32_t)(word & VHOST_USER_VRING_INDEX_MASK);
	if (word & ~(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD))
		return ml_refuse(why, -EPROTO, "message %u has unknown bits in 0x%" PRIx64,
				 m->header.request, word);
	if (*index >= MEMLEASE_VQ_COUNT)
		return ml_refuse(why, -EPROTO, "queue %u does not exist; there are %u", *index,
				 MEMLEASE_VQ_COUNT);
	if (m->fd_count != want)
		return ml_refuse(why, -EPROTO, "message %u has %u descriptors, not %u",
				 m->header.request, m->fd_count, want);
	if (want && m->fds[0].kind != PORTER_EVENTFD)
		return ml_refuse(why, -EPROTO, "the descriptor of message %u is not an eventfd",
				 m->header.request);
	if (want)
		*fd = message_take_fd(m, 0);
	return 0;
}

static int handle_set_vring_kick(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint32_t index;
	int fd, r = take_vring_file(m, &index, &fd, why);

	if (r < 0)
		return r;
	r = device_set_kick(d, index, fd);
	if (r < 0)
		return ml_refuse(why, -EPROTO, "queue %u cannot be watched: %s", index,
				 strerror(-r));
	return 0;
}

static int handle_set_vring_call(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint32_t index;
	int fd, r = take_vring_file(m, &index, &fd, why);

	if (r < 0)
		return r;
	ml_porter_dispose(d->owner, d->queue[index].call_fd);
	d->queue[index].call_fd = fd;
	/* A notification may have found no descriptor. */
	device_schedule(d);
	return 0;
}

static int handle_set_vring_err(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint32_t index;
	int fd, r = take_vring_file(m, &index, &fd, why);

	if (r < 0)
		return r;
	ml_porter_dispose(d->owner, d->queue[index].err_fd);
	d->queue[index].err_fd = fd;
	return 0;
}

static int handle_set_vring_enable(struct vhost_device *d, struct message *m,
				   struct ml_why *why)
{
	struct vring_state_msg s;

	memcpy(&s, m->payload, sizeof(s));
	if (s.index >= MEMLEASE_VQ_COUNT || s.num > 1)
		return ml_refuse(why, -EPROTO, "queue %u cannot be switched to %u", s.index, s.num);
	d->queue[s.index].enabled = s.num;
	device_schedule(d);
	return 0;
}

static int handle_set_backend_req_fd(struct vhost_device *d, struct message *m,
				     struct ml_why *why)
{
	int r;

	if (m->fds[0].kind != PORTER_UNIX_STREAM)
		return ml_refuse(why, -EPROTO,
				 "the descriptor for back-end messages is not a stream socket");
	r = device_set_backend_fd(d, message_take_fd(m, 0));
	if (r < 0)
		return ml_refuse(why, -EINVAL,
				 "the channel for back-end messages cannot be watched: %s",
				 strerror(-r));
	return 0;
}

static int handle_get_config(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint8_t space[VHOST_USER_CONFIG_MAX] = { 0 };
	struct memlease_config config;
	struct config_msg c;

	memcpy(&c, m->payload, sizeof(c));
	if (c.size > VHOST_USER_CONFIG_MAX || c.offset > VHOST_USER_CONFIG_MAX - c.size ||
	    m->header.size != CONFIG_HEAD + c.size)
		return ml_refuse(why, -EPROTO,
				 "config is asked for at %u, %u bytes, in a message of %u",
				 c.offset, c.size, m->header.size);
	lend_vm_config(d->vm, &config);
	memcpy(space, &config, sizeof(config));
	memcpy(c.bytes, space + c.offset, c.size);
	return reply(d, m, &c, CONFIG_HEAD + c.size);
}

static int handle_set_config(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	(void)d, (void)m;
	return ml_refuse(why, -EINVAL, "the config space is read-only");
}

static int handle_reset_device(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	(void)m, (void)why;
	device_reset(d);
	return 0;
}

static int check_uffd_region(struct vhost_device *d, const struct memlease_vhost_region *r,
			     enum memlease_region region, struct ml_why *why)
{
	uint64_t bytes = lend_region_blocks(d->vm, region) * MEMLEASE_BLOCK_BYTES;
	uint64_t end;

	if (r->region != (uint32_t)region || r->reserved)
		return ml_refuse(why, -EINVAL,
				 "region %u (reserved 0x%x) stands where region %d belongs",
				 r->region, r->reserved, region);
	if (r->bytes != bytes)
		return ml_refuse(why, -EINVAL,
				 "region %d has 0x%" PRIx64 " bytes in QEMU, but 0x%" PRIx64 " here: give the memory backend that size",
				 region, (uint64_t)r->bytes, bytes);
	if (r->hva % MEMLEASE_BLOCK_BYTES || r->gpa % MEMLEASE_BLOCK_BYTES ||
	    __builtin_add_overflow(r->hva, bytes, &end) ||
	    __builtin_add_overflow(r->gpa, bytes, &end) ||
	    (region == MEMLEASE_REGION_BOOT && r->gpa))
		return ml_refuse(why, -EINVAL,
				 "region %d cannot lie at 0x%" PRIx64 " (0x%" PRIx64 " in QEMU): multiples of 2 MiB are possible",
				 region, (uint64_t)r->gpa, (uint64_t)r->hva);
	return 0;
}

static int handle_set_uffd(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	uint64_t hva[MEMLEASE_REGION_COUNT];
	struct memlease_vhost_uffd u;
	int r;

	memcpy(&u, m->payload, sizeof(u));
	if (u.version != MEMLEASE_ABI_VERSION || u.count != MEMLEASE_REGION_COUNT)
		return ml_refuse(why, -EINVAL,
				 "a layout of version %u with %u regions; %u with %u is spoken here",
				 u.version, u.count, MEMLEASE_ABI_VERSION, MEMLEASE_REGION_COUNT);
	for (int i = 0; i < MEMLEASE_REGION_COUNT; i++) {
		r = check_uffd_region(d, &u.regions[i], i, why);
		if (r < 0)
			return r;
		hva[i] = u.regions[i].hva;
	}
	if (hva[0] < hva[1] + u.regions[1].bytes && hva[1] < hva[0] + u.regions[0].bytes)
		return ml_refuse(why, -EINVAL,
				 "boot memory and window overlap in QEMU, at 0x%" PRIx64 " and 0x%" PRIx64,
				 hva[0], hva[1]);
	if (m->fds[0].kind != PORTER_UFFD)
		return ml_refuse(why, -EINVAL, "the descriptor of the layout is not a userfaultfd");
	lend_vm_set_layout(d->vm, hva, u.regions[MEMLEASE_REGION_WINDOW].gpa);
	r = uffd_take(d, message_take_fd(m, 0), hva);
	if (r < 0)
		return ml_refuse(why, -EINVAL, "the userfaultfd cannot be watched: %s",
				 strerror(-r));
	return 0;
}

struct handler {
	uint32_t request;
	const char *name;
	uint32_t size_min, size_max;	/* bytes of payload */
	int fds;			/* descriptors; ANY: the handler looks */
	bool replies;			/* has a reply of its own */
	int (*handle)(struct vhost_device *d, struct message *m, struct ml_why *why);
};

#define ANY (-1)
#define U64 8, 8
#define STATE sizeof(struct vring_state_msg), sizeof(struct vring_state_msg)
#define ADDR sizeof(struct vring_addr_msg), sizeof(struct vring_addr_msg)
#define TABLE MEM_TABLE_HEAD, sizeof(struct mem_table_msg)
#define CONFIG CONFIG_HEAD, sizeof(struct config_msg)
#define UFFD sizeof(struct memlease_vhost_uffd), sizeof(struct memlease_vhost_uffd)

static const struct handler handlers[] = {
	{ VHOST_USER_GET_FEATURES, "GET_FEATURES", 0, 0, 0, true, handle_get_features },
	{ VHOST_USER_SET_FEATURES, "SET_FEATURES", U64, 0, false, handle_set_features },
	{ VHOST_USER_SET_OWNER, "SET_OWNER", 0, 0, 0, false, handle_set_owner },
	{ VHOST_USER_RESET_OWNER, "RESET_OWNER", 0, 0, 0, false, handle_reset_owner },
	{ VHOST_USER_SET_MEM_TABLE, "SET_MEM_TABLE", TABLE, ANY, false, handle_set_mem_table },
	{ VHOST_USER_SET_VRING_NUM, "SET_VRING_NUM", STATE, 0, false, handle_set_vring_num },
	{ VHOST_USER_SET_VRING_ADDR, "SET_VRING_ADDR", ADDR, 0, false, handle_set_vring_addr },
	{ VHOST_USER_SET_VRING_BASE, "SET_VRING_BASE", STATE, 0, false, handle_set_vring_base },
	{ VHOST_USER_GET_VRING_BASE, "GET_VRING_BASE", STATE, 0, true, handle_get_vring_base },
	{ VHOST_USER_SET_VRING_KICK, "SET_VRING_KICK", U64, ANY, false, handle_set_vring_kick },
	{ VHOST_USER_SET_VRING_CALL, "SET_VRING_CALL", U64, ANY, false, handle_set_vring_call },
	{ VHOST_USER_SET_VRING_ERR, "SET_VRING_ERR", U64, ANY, false, handle_set_vring_err },
	{ VHOST_USER_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", 0, 0, 0, true,
	  handle_get_protocol_features },
	{ VHOST_USER_SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES", U64, 0, false,
	  handle_set_protocol_features },
	{ VHOST_USER_SET_VRING_ENABLE, "SET_VRING_ENABLE", STATE, 0, false,
	  handle_set_vring_enable },
	{ VHOST_USER_SET_BACKEND_REQ_FD, "SET_BACKEND_REQ_FD", 0, 8, 1, false,
	  handle_set_backend_req_fd },
	{ VHOST_USER_GET_CONFIG, "GET_CONFIG", CONFIG, 0, true, handle_get_config },
	{ VHOST_USER_SET_CONFIG, "SET_CONFIG", CONFIG, 0, false, handle_set_config },
	{ VHOST_USER_RESET_DEVICE, "RESET_DEVICE", 0, 0, 0, false, handle_reset_device },
	{ MEMLEASE_VHOST_SET_UFFD, "MEMLEASE_SET_UFFD", UFFD, 1, false, handle_set_uffd },
};

static const struct handler *message_handler(uint32_t request)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(*handlers); i++)
		if (handlers[i].request == request)
			return &handlers[i];
	return NULL;
}

static int check_form(const struct handler *h, const struct message *m, struct ml_why *why)
{
	if (!h)
		return ml_refuse(why, -EPROTO, "message %u is unknown", m->header.request);
	if (m->header.size < h->size_min || m->header.size > h->size_max)
		return ml_refuse(why, -EPROTO, "%s has %u bytes; %u to %u are possible", h->name,
				 m->header.size, h->size_min, h->size_max);
	if (h->fds != ANY && m->fd_count != (unsigned int)h->fds)
		return ml_refuse(why, -EPROTO, "%s has %u descriptors, not %d", h->name,
				 m->fd_count, h->fds);
	return 0;
}

int protocol_handle(struct vhost_device *d, struct message *m, struct ml_why *why)
{
	const struct handler *h = message_handler(m->header.request);
	bool asked = (m->header.flags & MESSAGE_NEED_REPLY) &&
		     (d->protocol_features & (1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	uint64_t refused;
	int r = check_form(h, m, why);

	if (r < 0)
		return r;
	/* What a shorter message lacks reads as zero, not as the message before. */
	memset(m->payload + m->header.size, 0, sizeof(m->payload) - m->header.size);
	r = h->handle(d, m, why);
	if (h->replies || (r < 0 && r != -EINVAL))
		return r;
	if (!asked)
		return r < 0 ? -EPROTO : 0;
	if (r < 0 && quiet_allows(&d->quiet, d->event))
		ml_warn("vm %s: %s is refused: %s", lend_vm_name(d->vm), h->name, why->text);
	refused = r < 0;
	return message_reply(&d->stream, m->header.request, &refused, sizeof(refused));
}
