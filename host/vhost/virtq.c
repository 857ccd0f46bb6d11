// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A split virtqueue, the device's side: see virtq.h. Offsets and flags are those
 * of the virtio specification, section 2.7.
 */
#include "virtq.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "../base/porter.h"
#include "peerfd.h"

#define AVAIL_FLAGS 0		/* offsets inside the rings */
#define AVAIL_IDX 2
#define AVAIL_RING 4
#define USED_IDX 2
#define USED_RING 4

void virtq_init(struct virtq *v)
{
	memset(v, 0, sizeof(*v));
	v->kick_fd = v->call_fd = v->err_fd = -1;
}

void virtq_close(struct virtq *v, uint64_t owner)
{
	ml_porter_dispose(owner, v->kick_fd);
	ml_porter_dispose(owner, v->call_fd);
	ml_porter_dispose(owner, v->err_fd);
	virtq_init(v);
}

uint64_t virtq_desc_bytes(uint32_t num)
{
	return (uint64_t)num * sizeof(struct vring_desc);
}

uint64_t virtq_avail_bytes(uint32_t num)
{
	return AVAIL_RING + 2 * (uint64_t)num + 2;
}

uint64_t virtq_used_bytes(uint32_t num)
{
	return USED_RING + sizeof(struct vring_used_elem) * (uint64_t)num + 2;
}

static int virtq_map_part(struct gmem *g, uint64_t user, uint64_t len, struct gmem_span *out,
			  const char *part, struct ml_why *why)
{
	if (gmem_span_user(g, user, len, out) == 0)
		return 0;
	return ml_refuse(why, -EFAULT,
			 "the %s, %" PRIu64 " bytes at 0x%" PRIx64 " in QEMU, does not lie in boot memory",
			 part, len, user);
}

int virtq_map(struct virtq *v, struct gmem *g, uint64_t features, struct ml_why *why)
{
	int r;

	v->mapped = false;
	r = virtq_map_part(g, v->desc_user, virtq_desc_bytes(v->num), &v->desc,
			   "descriptor table", why);
	if (r == 0)
		r = virtq_map_part(g, v->avail_user, virtq_avail_bytes(v->num), &v->avail,
				   "available ring", why);
	if (r == 0)
		r = virtq_map_part(g, v->used_user, virtq_used_bytes(v->num), &v->used,
				   "used ring", why);
	if (r < 0)
		return r;
	r = gmem_load16(g, v->used, USED_IDX, &v->used_idx);
	if (r < 0)
		return ml_refuse(why, r, "the used ring cannot be read: %s", strerror(-r));
	v->indirect_ok = features & (1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	v->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
	v->told_valid = false;
	v->mapped = true;
	return 0;
}

size_t virtq_parts(const struct virtq *v, const struct gmem *g, struct gmem_span out[VIRTQ_PARTS])
{
	size_t n = 0;

	if (!v->has_addr || v->num == 0)
		return 0;
	n += gmem_span_user(g, v->desc_user, virtq_desc_bytes(v->num), &out[n]) == 0;
	n += gmem_span_user(g, v->avail_user, virtq_avail_bytes(v->num), &out[n]) == 0;
	n += gmem_span_user(g, v->used_user, virtq_used_bytes(v->num), &out[n]) == 0;
	return n;
}

/* Walks one table of descriptors; table.len / 16 of them. */
struct walk {
	struct gmem *g;
	struct gmem_span table;
	bool indirect;		/* this is an indirect table */
	struct virtq_chain *chain;
	struct ml_why *why;
};

static int walk_error(const struct walk *w, uint32_t i, const char *what, uint64_t value)
{
	return ml_refuse(w->why, -EPROTO, "%sdescriptor %u %s 0x%" PRIx64,
			 w->indirect ? "indirect " : "", i, what, value);
}

static int walk_add(const struct walk *w, uint32_t i, const struct vring_desc *d)
{
	struct virtq_chain *c = w->chain;
	bool writable = d->flags & VRING_DESC_F_WRITE;

	if (d->len == 0)
		return walk_error(w, i, "is empty, at", d->addr);
	if (!writable && c->spans > c->reads)
		return walk_error(w, i, "is readable after a writable one, flags", d->flags);
	if (c->spans == VIRTQ_SPANS_MAX)
		return walk_error(w, i, "makes the chain longer than", VIRTQ_SPANS_MAX);
	if (gmem_span(w->g, (gpa_t){ d->addr }, d->len, &c->span[c->spans]) < 0)
		return walk_error(w, i, "does not lie in boot memory, at", d->addr);
	c->spans++;
	if (writable) {
		c->write_bytes += d->len;
	} else {
		c->reads++;
		c->read_bytes += d->len;
	}
	return 0;
}

static int walk_table(const struct walk *w, const struct virtq *v, uint32_t i);

static int walk_indirect(const struct walk *w, const struct virtq *v, uint32_t i,
			 const struct vring_desc *d)
{
	struct walk inner = *w;

	if (w->indirect)
		return walk_error(w, i, "is indirect inside an indirect table, flags", d->flags);
	if (!v->indirect_ok)
		return walk_error(w, i, "is indirect, which was not negotiated, flags", d->flags);
	if (d->flags & VRING_DESC_F_NEXT)
		return walk_error(w, i, "is indirect and has a next one, flags", d->flags);
	if (d->len == 0 || d->len % sizeof(*d) || d->len / sizeof(*d) > VIRTQ_SPANS_MAX)
		return walk_error(w, i, "has an indirect table of bad length", d->len);
	if (gmem_span(w->g, (gpa_t){ d->addr }, d->len, &w->chain->table) < 0)
		return walk_error(w, i, "has an indirect table outside boot memory, at", d->addr);
	inner.table = w->chain->table;
	inner.indirect = true;
	return walk_table(&inner, v, 0);
}

static int walk_table(const struct walk *w, const struct virtq *v, uint32_t i)
{
	uint32_t size = (uint32_t)(w->table.len / sizeof(struct vring_desc));

	/* A chain visits each descriptor at most once: more steps are a loop. */
	for (uint32_t steps = 0; steps < size; steps++) {
		struct vring_desc d;
		int r = gmem_read(w->g, w->table, i * sizeof(d), &d, sizeof(d));

		if (r < 0)
			return r;
		d.addr = le64toh(d.addr);
		d.len = le32toh(d.len);
		d.flags = le16toh(d.flags);
		d.next = le16toh(d.next);
		if (d.flags & ~(VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))
			return walk_error(w, i, "has unknown flags", d.flags);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_indirect(w, v, i, &d);
		r = walk_add(w, i, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		if (d.next >= size)
			return walk_error(w, i, "names as next one", d.next);
		i = d.next;
	}
	return walk_error(w, i, "closes a loop in a table of size", size);
}

/* The driver's index; checked against ours. 1: there is something. */
static int virtq_pending(struct virtq *v, struct gmem *g, struct ml_why *why)
{
	uint16_t avail;
	int r = gmem_load16(g, v->avail, AVAIL_IDX, &avail);

	if (r < 0)
		return r;
	if ((uint16_t)(avail - v->last_avail) > v->num)
		return ml_refuse(why, -EPROTO,
				 "the available index is %u, but at most %u can follow %u", avail,
				 v->num, v->last_avail);
	return avail != v->last_avail;
}

/* Where the device says after which index it wants a kick: behind the used ring. */
static uint64_t avail_event_at(const struct virtq *v)
{
	return USED_RING + sizeof(struct vring_used_elem) * (uint64_t)v->num;
}

int virtq_next(struct virtq *v, struct gmem *g, struct virtq_chain *out, struct ml_why *why)
{
	struct walk w = { .g = g, .table = v->desc, .chain = out, .why = why };
	int r = virtq_pending(v, g, why);

	if (r == 0 && v->event_idx) {
		r = gmem_store16(g, v->used, avail_event_at(v), v->last_avail);
		if (r < 0)
			return r;
		/*
		 * The driver stores its index and then reads the avail event; the device stores
		 * the avail event and then reads the index. So one of both sees the other's.
		 */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		r = virtq_pending(v, g, why);
	}
	if (r <= 0)
		return r;
	memset(out, 0, offsetof(struct virtq_chain, span));
	out->read_bytes = out->write_bytes = 0;
	out->table.len = 0;
	r = gmem_load16(g, v->avail, AVAIL_RING + 2 * (v->last_avail & (v->num - 1)), &out->head);
	if (r < 0)
		return r;
	if (out->head >= v->num)
		return ml_refuse(why, -EPROTO, "the available ring names descriptor %u of %u",
				 out->head, v->num);
	r = walk_table(&w, v, out->head);
	return r < 0 ? r : 1;
}

int virtq_read(const struct virtq_chain *c, struct gmem *g, void *to, size_t len)
{
	uint8_t *p = to;

	for (unsigned int i = 0; i < c->reads && len > 0; i++) {
		size_t piece = c->span[i].len < len ? (size_t)c->span[i].len : len;
		int r = gmem_read(g, c->span[i], 0, p, piece);

		if (r < 0)
			return r;
		p += piece;
		len -= piece;
	}
	return len == 0 ? 0 : -EFAULT;
}

int virtq_write(const struct virtq_chain *c, struct gmem *g, const void *from, size_t len)
{
	const uint8_t *p = from;

	for (unsigned int i = c->reads; i < c->spans && len > 0; i++) {
		size_t piece = c->span[i].len < len ? (size_t)c->span[i].len : len;
		int r = gmem_write(g, c->span[i], 0, p, piece);

		if (r < 0)
			return r;
		p += piece;
		len -= piece;
	}
	return len == 0 ? 0 : -EFAULT;
}

int virtq_swap32(const struct virtq_chain *c, struct gmem *g, uint64_t at, uint32_t from,
		 uint32_t to, uint32_t *was)
{
	unsigned int i = c->reads;

	while (i < c->spans && at >= c->span[i].len)
		at -= c->span[i++].len;
	if (i == c->spans || c->span[i].len - at < sizeof(*was) || (c->span[i].off + at) % sizeof(*was))
		return -EINVAL;
	return gmem_swap32(g, c->span[i], at, from, to, was);
}

int virtq_ready(struct virtq *v, const struct virtq_chain *c, struct gmem *g, size_t len)
{
	int r = gmem_ready(g, v->used);

	for (unsigned int i = c->reads; r == 0 && i < c->spans && len > 0; i++) {
		size_t piece = c->span[i].len < len ? (size_t)c->span[i].len : len;

		r = gmem_ready(g, (struct gmem_span){ c->span[i].off, piece });
		len -= piece;
	}
	return r;
}

int virtq_complete(struct virtq *v, struct gmem *g, const struct virtq_chain *c,
		   uint32_t written)
{
	struct vring_used_elem e = { .id = htole32(c->head), .len = htole32(written) };
	uint64_t at = USED_RING + sizeof(e) * (uint64_t)(v->used_idx & (v->num - 1));
	int r = gmem_write(g, v->used, at, &e, sizeof(e));

	if (r == 0)
		r = gmem_store16(g, v->used, USED_IDX, (uint16_t)(v->used_idx + 1));
	if (r < 0)
		return r;
	v->used_idx++;
	v->last_avail++;
	return 0;
}

/* Does the driver want to hear of used entries told_used..used_idx-1? */
static int virtq_wanted(struct virtq *v, struct gmem *g, bool *wanted)
{
	uint16_t word;
	int r;

	/* The used index must be visible before the driver's used event is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*wanted = true;
	if (!v->told_valid)
		return 0;
	if (v->event_idx) {
		r = gmem_load16(g, v->avail, AVAIL_RING + 2 * (uint64_t)v->num, &word);
		*wanted = (uint16_t)(v->used_idx - word - 1) <
			  (uint16_t)(v->used_idx - v->told_used);
	} else {
		r = gmem_load16(g, v->avail, AVAIL_FLAGS, &word);
		*wanted = !(word & VRING_AVAIL_F_NO_INTERRUPT);
	}
	return r;
}

int virtq_notify(struct virtq *v, struct gmem *g)
{
	bool wanted;
	int r;

	if (v->told_valid && v->told_used == v->used_idx)
		return 0;
	r = virtq_wanted(v, g, &wanted);
	if (r < 0)
		return r;
	if (wanted && v->call_fd < 0) {
		v->told_valid = false;	/* notify when there is a call descriptor */
		return 0;
	}
	v->told_used = v->used_idx;
	v->told_valid = true;
	return wanted ? peerfd_signal(v->call_fd) : 0;
}
