/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's side of the rig: a driver that places descriptors, offers chains
 * and takes answers. Included by test_vhost_rig.h, and by nothing else.
 */
#ifndef TEST_VHOST_DRIVER_H
#define TEST_VHOST_DRIVER_H

static struct vring_desc *desc_of(const struct guest *g, unsigned int q, unsigned int i)
{
	return (struct vring_desc *)(void *)at(g, RIG_RING_GPA(q) + RIG_DESC) + i;
}

static uint16_t *avail_word(const struct guest *g, unsigned int q, unsigned int i)
{
	return (uint16_t *)(void *)at(g, RIG_RING_GPA(q) + RIG_AVAIL) + i;
}

static uint16_t *used_word(const struct guest *g, unsigned int q, unsigned int i)
{
	return (uint16_t *)(void *)at(g, RIG_RING_GPA(q) + RIG_USED) + i;
}

static void set_desc(struct guest *g, unsigned int q, unsigned int i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	*desc_of(g, q, i) = (struct vring_desc){
		htole64(addr), htole32(len), htole16(flags), htole16(next),
	};
}

/* Offer the chain that starts at head. */
static void offer(struct guest *g, unsigned int q, uint16_t head)
{
	*avail_word(g, q, 2 + (g->avail[q] & (RIG_NUM - 1))) = htole16(head);
	g->avail[q]++;
	__atomic_store_n(avail_word(g, q, 1), htole16(g->avail[q]), __ATOMIC_RELEASE);
}

static void kick(struct guest *g, unsigned int q)
{
	uint64_t one = 1;

	assert_int_equal(write(g->kick[q], &one, sizeof(one)), sizeof(one));
}

static RIG_UNUSED bool called(struct guest *g, unsigned int q)
{
	uint64_t n;

	return read(g->call[q], &n, sizeof(n)) == sizeof(n);
}

/* The next used entry: its length, or -1. */
static RIG_UNUSED int64_t take_used(struct guest *g, unsigned int q, uint32_t *head)
{
	uint16_t idx = le16toh(__atomic_load_n(used_word(g, q, 1), __ATOMIC_ACQUIRE));
	struct vring_used_elem e;

	if (idx == g->seen[q])
		return -1;
	memcpy(&e, used_word(g, q, 2 + 4 * (g->seen[q] & (RIG_NUM - 1))), sizeof(e));
	g->seen[q]++;
	if (head)
		*head = le32toh(e.id);
	return le32toh(e.len);
}

/* Place a request of two descriptors, at `buffer`; returns the head. */
static RIG_UNUSED uint16_t place_request(struct guest *g, unsigned int buffer, const void *bytes,
					 uint32_t size, uint32_t room)
{
	uint16_t head = (uint16_t)((buffer * 2) % RIG_NUM);
	uint64_t gpa = RIG_BUFFER_GPA + (uint64_t)buffer * RIG_BUFFER_STRIDE;

	memcpy(at(g, gpa), bytes, size);
	set_desc(g, 0, head, gpa, size, VRING_DESC_F_NEXT, head + 1);
	set_desc(g, 0, head + 1u, gpa + RIG_BUFFER_STRIDE / 2 + 256, room, VRING_DESC_F_WRITE, 0);
	return head;
}

static RIG_UNUSED const uint8_t *response_at(const struct guest *g, unsigned int buffer)
{
	return at(g, RIG_BUFFER_GPA + (uint64_t)buffer * RIG_BUFFER_STRIDE +
		     RIG_BUFFER_STRIDE / 2 + 256);
}

struct rig_request {
	struct memlease_request head;
	struct memlease_extent e[MEMLEASE_MAX_EXTENTS];
};

struct rig_response {
	struct memlease_response head;
	struct memlease_answer a[MEMLEASE_MAX_EXTENTS];
};

/* The answer to QUERY. */
struct rig_figures {
	struct memlease_response head;
	struct memlease_stat s[MEMLEASE_MAX_STATS];
};

static RIG_UNUSED uint32_t build(struct rig_request *r, uint16_t type, uint16_t count,
				 const struct memlease_extent *e)
{
	memset(r, 0, sizeof(*r));
	r->head.type = htole16(type);
	r->head.count = htole16(count);
	r->head.cookie = htole64(0xc00c1e);
	for (int i = 0; i < count && i < MEMLEASE_MAX_EXTENTS; i++)
		r->e[i] = (struct memlease_extent){
			htole32(e[i].region), htole32(e[i].count), htole64(e[i].first),
		};
	return (uint32_t)(sizeof(r->head) + count * sizeof(*e));
}

/* A whole request, answered: the response in host order. False: no answer. */
static RIG_UNUSED bool ask(struct guest *g, uint16_t type, uint16_t count,
			   const struct memlease_extent *e, struct rig_response *out)
{
	struct rig_request r;
	uint32_t size = build(&r, type, count, e);
	int64_t len;

	offer(g, 0, place_request(g, 0, &r, size, sizeof(*out)));
	kick(g, 0);
	rig_spin(g->rig);
	len = take_used(g, 0, NULL);
	if (len < 0)
		return false;
	memset(out, 0, sizeof(*out));
	assert_true((size_t)len <= sizeof(*out));
	memcpy(out, response_at(g, 0), (size_t)len);
	assert_int_equal(le64toh(out->head.cookie), 0xc00c1e);
	assert_int_equal((size_t)len, sizeof(out->head) + le16toh(out->head.count) * sizeof(*out->a));
	return true;
}

/* One extent; returns the slots done, or -1. */
static RIG_UNUSED int64_t ask_one(struct guest *g, uint16_t type, uint32_t region, uint64_t first,
				  uint32_t count)
{
	struct memlease_extent e = { region, count, first };
	struct rig_response r;

	return ask(g, type, 1, &e, &r) ? (int64_t)le32toh(r.head.done_blocks) : -1;
}

static RIG_UNUSED enum memlease_broken broken_reason(const struct guest *g)
{
	struct vm_status s;

	lend_vm_status(g->vm, &s);
	return s.broken;
}

#endif /* TEST_VHOST_DRIVER_H */
