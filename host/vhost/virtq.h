/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A split virtqueue, the device's side: finding the next chain, walking it,
 * completing it, and notifying the driver. Every descriptor is copied once and
 * then checked. Knows nothing of requests or events; used by request.c, event.c
 * and device.c.
 *
 * A ring runs while it has a kick descriptor (SET_VRING_KICK starts it,
 * GET_VRING_BASE stops it), is enabled, and its addresses translate. last_avail
 * moves in virtq_complete() only, so that what was not completed is looked at
 * again: after a stop, after -EAGAIN, and by the next daemon.
 */
#ifndef ML_VHOST_VIRTQ_H
#define ML_VHOST_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>

#include "gmem.h"

/* Buffers of one chain; also the most entries of an indirect table. */
#define VIRTQ_SPANS_MAX MEMLEASE_VQ_MAX_SIZE

struct virtq {
	/* As QEMU set it. */
	uint32_t num;			/* descriptors; 0: not set */
	bool has_addr;
	uint64_t desc_user, avail_user, used_user;
	bool enabled;
	int kick_fd, call_fd, err_fd;	/* eventfds, owned, or -1 */
	/* While it runs. */
	bool mapped;
	struct gmem_span desc, avail, used;
	bool indirect_ok, event_idx;	/* negotiated */
	uint16_t last_avail;		/* next to look at */
	uint16_t used_idx;		/* next to fill */
	uint16_t told_used;		/* used_idx when the driver was last notified */
	bool told_valid;		/* false: notify whatever the driver says */
};

struct virtq_chain {
	uint16_t head;
	unsigned int spans;		/* of them the first reads are device-readable */
	unsigned int reads;
	struct gmem_span span[VIRTQ_SPANS_MAX];
	uint64_t read_bytes, write_bytes;
	struct gmem_span table;		/* the indirect table; len 0: none */
};

void virtq_init(struct virtq *v);
/* Stopped, disabled, nothing set; closes the descriptors. */
void virtq_close(struct virtq *v, uint64_t owner);

/* Bytes of the three parts, for num descriptors. */
uint64_t virtq_desc_bytes(uint32_t num);
uint64_t virtq_avail_bytes(uint32_t num);
uint64_t virtq_used_bytes(uint32_t num);

/*
 * Translate the addresses and read the used index. -EFAULT: not in boot memory,
 * why says which part; -EAGAIN: later.
 */
int virtq_map(struct virtq *v, struct gmem *g, uint64_t features, struct ml_why *why);
static inline void virtq_unmap(struct virtq *v)
{
	v->mapped = false;
}

/* Where the three parts lie, mapped or not yet: those with an address in boot memory. 0 to 3 of them. */
#define VIRTQ_PARTS 3
size_t virtq_parts(const struct virtq *v, const struct gmem *g, struct gmem_span out[VIRTQ_PARTS]);

/*
 * The next chain, without taking it. 1: there is one. 0: none, and the driver
 * was asked to kick. -EAGAIN: later. -EPROTO: malformed, why names the value.
 * -EFAULT: the file is shorter than it was.
 */
int virtq_next(struct virtq *v, struct gmem *g, struct virtq_chain *out, struct ml_why *why);

/* Gather the readable part's first len bytes; scatter to the writable part. */
int virtq_read(const struct virtq_chain *c, struct gmem *g, void *to, size_t len);
int virtq_write(const struct virtq_chain *c, struct gmem *g, const void *from, size_t len);
/*
 * The 32-bit word at byte `at` of the writable part, as gmem_swap32(). -EINVAL: it does not lie
 * in one descriptor, at a multiple of 4.
 */
int virtq_swap32(const struct virtq_chain *c, struct gmem *g, uint64_t at, uint32_t from,
		 uint32_t to, uint32_t *was);
/* Everything that virtq_write(len) and virtq_complete() write is resident? As gmem_ready(). */
int virtq_ready(struct virtq *v, const struct virtq_chain *c, struct gmem *g, size_t len);

/* Put the chain into the used ring with written bytes; moves last_avail. */
int virtq_complete(struct virtq *v, struct gmem *g, const struct virtq_chain *c,
		   uint32_t written);
/* Notify the driver of what was completed, if it wants to know. 0 or as peerfd_signal(). */
int virtq_notify(struct virtq *v, struct gmem *g);

#endif /* ML_VHOST_VIRTQ_H */
