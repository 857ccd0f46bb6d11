// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile guest: takes the place of virtio_memlease.ko in a test VM and breaks
 * the protocol in one way, named by the parameter attack. It writes the ring
 * itself, without the kernel's virtqueue code, which would refuse to. What came
 * of it stands in one line of the kernel log: "hostile: ATTACK broken N" (enum
 * memlease_broken), or "hostile: ATTACK unharmed". Unloading it resets the
 * device, which mends it, so that the next attack can follow.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "memlease_abi.h"

#define BREAK_WAIT_MS 1500
#define ANSWER_WAIT_MS 5000
#define FLOOD_REQUESTS 20000
#define FLOOD_BATCH 64
#define SPARE 0xa5

static char *attack = "none";
module_param(attack, charp, 0444);
MODULE_PARM_DESC(attack, "how to break the protocol");

/* Two pages of boot memory: what the device reads, and what it writes. */
struct buffers {
	struct memlease_request *req;
	struct memlease_extent *ext;
	struct memlease_response *resp;
	struct memlease_answer *answers;
};

struct hostile {
	struct virtio_device *vdev;
	struct virtqueue *vq;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	u16 size;
	struct buffers buf;
	u64 window_addr;
	u64 window_blocks;
};

static void answered(struct virtqueue *vq)
{
}

static u64 gpa(const void *p)
{
	return virt_to_phys((void *)p);
}

static void set_desc(struct hostile *h, u16 i, u64 addr, u32 len, u16 flags, u16 next)
{
	h->desc[i].addr = cpu_to_le64(addr);
	h->desc[i].len = cpu_to_le32(len);
	h->desc[i].flags = cpu_to_le16(flags);
	h->desc[i].next = cpu_to_le16(next);
}

/* Make a chain available and ring the bell; head need not be a descriptor. */
static void offer(struct hostile *h, u16 head)
{
	u16 idx = le16_to_cpu(h->avail->idx);

	h->avail->ring[idx % h->size] = cpu_to_le16(head);
	virtio_wmb(false);
	h->avail->idx = cpu_to_le16(idx + 1);
	virtio_mb(false);
	virtqueue_notify(h->vq);
}

static void set_extent(struct hostile *h, int i, u32 region, u64 first, u32 count)
{
	h->buf.ext[i].region = cpu_to_le32(region);
	h->buf.ext[i].first = cpu_to_le64(first);
	h->buf.ext[i].count = cpu_to_le32(count);
}

/* A well-formed chain in descriptors 0 and 1, not offered yet. */
static void prepare(struct hostile *h, u16 type, u16 count)
{
	u32 in = sizeof(*h->buf.req) + count * sizeof(*h->buf.ext);
	u32 out = sizeof(*h->buf.resp) + count * sizeof(*h->buf.answers);

	memset(h->buf.resp, SPARE, PAGE_SIZE);
	h->buf.req->type = cpu_to_le16(type);
	h->buf.req->count = cpu_to_le16(count);
	h->buf.req->reserved = 0;
	h->buf.req->cookie = cpu_to_le64(0x1122334455667788ULL);
	set_desc(h, 0, gpa(h->buf.req), in, VRING_DESC_F_NEXT, 1);
	set_desc(h, 1, gpa(h->buf.resp), out, VRING_DESC_F_WRITE, 0);
}

/* Wait until the device has used up to idx; false if it does not. */
static bool wait_used(struct hostile *h, u16 idx)
{
	unsigned long end = jiffies + msecs_to_jiffies(ANSWER_WAIT_MS);

	while (le16_to_cpu(READ_ONCE(h->used->idx)) != idx) {
		if (time_after(jiffies, end))
			return false;
		usleep_range(100, 500);
	}
	virtio_rmb(false);
	return true;
}

/* One extent, sent and answered: the status, or -EIO. */
static int ask(struct hostile *h, u16 type, u32 region, u64 first, u32 count)
{
	u16 idx = le16_to_cpu(h->used->idx);

	set_extent(h, 0, region, first, count);
	prepare(h, type, 1);
	offer(h, 0);
	if (!wait_used(h, idx + 1))
		return -EIO;
	return le16_to_cpu(h->buf.resp->status);
}

static void attack_none(struct hostile *h)
{
	int b = ask(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 64);
	int r = ask(h, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 0, 64);

	pr_info("hostile: borrow %d, return %d\n", b, r);
}

static void send_extent(struct hostile *h, u16 type, u32 region, u64 first, u32 count)
{
	set_extent(h, 0, region, first, count);
	prepare(h, type, 1);
	offer(h, 0);
}

static void attack_range(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, h->window_blocks - 1, 2);
}

static void attack_wrap(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, ~0ULL, 2);
}

static void attack_empty(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 0);
}

static void attack_region(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_REPORT, 7, 0, 1);
}

static void attack_borrow_boot(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_BOOT, 0, 1);
}

static void attack_type(struct hostile *h)
{
	send_extent(h, 99, MEMLEASE_REGION_WINDOW, 0, 1);
}

static void attack_report_vacant(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_REPORT, MEMLEASE_REGION_WINDOW, 0, 1);
}

static void attack_report_ring(struct hostile *h)
{
	send_extent(h, MEMLEASE_REQ_REPORT, MEMLEASE_REGION_BOOT,
		    gpa(h->desc) >> MEMLEASE_BLOCK_SHIFT, 1);
}

static void attack_overlap(struct hostile *h)
{
	set_extent(h, 0, MEMLEASE_REGION_WINDOW, 0, 4);
	set_extent(h, 1, MEMLEASE_REGION_WINDOW, 3, 4);
	prepare(h, MEMLEASE_REQ_BORROW, 2);
	offer(h, 0);
}

static void attack_too_many(struct hostile *h)
{
	int n = MEMLEASE_MAX_EXTENTS + 1;

	for (int i = 0; i < n; i++)
		set_extent(h, i, MEMLEASE_REGION_WINDOW, i, 1);
	prepare(h, MEMLEASE_REQ_BORROW, n);
	offer(h, 0);
}

static void attack_short(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[0].len = cpu_to_le32(4);
	offer(h, 0);
}

static void attack_count_lies(struct hostile *h)
{
	set_extent(h, 0, MEMLEASE_REGION_WINDOW, 0, 1);
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->buf.req->count = cpu_to_le16(4);
	offer(h, 0);
}

static void attack_no_room(struct hostile *h)
{
	set_extent(h, 0, MEMLEASE_REGION_WINDOW, 0, 1);
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[1].len = cpu_to_le32(sizeof(*h->buf.resp) - 1);
	offer(h, 0);
}

static void attack_chain_loop(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	set_desc(h, 1, gpa(h->buf.resp), 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	offer(h, 0);
}

static void attack_next_outside(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[0].next = cpu_to_le16(h->size);
	offer(h, 0);
}

static void attack_head_outside(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	offer(h, 0xffff);
}

static void attack_index_jump(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->avail->idx = cpu_to_le16(le16_to_cpu(h->avail->idx) + h->size + 1);
	virtio_mb(false);
	virtqueue_notify(h->vq);
}

static void attack_bad_address(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[0].addr = cpu_to_le64(~0ULL - 8);
	offer(h, 0);
}

static void attack_hole_address(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[0].addr = cpu_to_le64(1ULL << 50);
	offer(h, 0);
}

/* A buffer in the window, in a slot that was borrowed: the daemon may not look there. */
static void attack_window_address(struct hostile *h)
{
	ask(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 1);
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	h->desc[1].addr = cpu_to_le64(h->window_addr);
	offer(h, 0);
}

static void attack_indirect(struct hostile *h)
{
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	set_desc(h, 0, gpa(h->buf.req), 32, VRING_DESC_F_INDIRECT, 0);
	offer(h, 0);
}

/* As many well-formed requests as it can; it may be slowed down, but not broken. */
static void attack_flood(struct hostile *h)
{
	u16 used = le16_to_cpu(h->used->idx);
	u32 sent, refused = 0;

	for (sent = 0; sent < FLOOD_REQUESTS; sent += FLOOD_BATCH) {
		set_extent(h, 0, MEMLEASE_REGION_WINDOW, 0, h->window_blocks);
		prepare(h, sent & FLOOD_BATCH ? MEMLEASE_REQ_RETURN : MEMLEASE_REQ_BORROW, 1);
		for (int i = 0; i < FLOOD_BATCH; i++)
			offer(h, 0);
		used += FLOOD_BATCH;
		if (!wait_used(h, used)) {
			pr_info("hostile: no answers after %u requests\n", sent);
			return;
		}
		refused += le16_to_cpu(h->buf.resp->status) != MEMLEASE_DONE;
		cond_resched();
	}
	pr_info("hostile: %u requests answered, %u batches refused\n", sent, refused);
}

/* The number of words of a block that are not what they should be. */
static u32 other_words(const u64 *p, u64 wanted)
{
	u32 n = 0;

	for (size_t i = 0; i < MEMLEASE_BLOCK_BYTES / sizeof(*p); i++)
		n += READ_ONCE(p[i]) != wanted;
	return n;
}

static void fill_words(u64 *p, u64 value)
{
	for (size_t i = 0; i < MEMLEASE_BLOCK_BYTES / sizeof(*p); i++)
		WRITE_ONCE(p[i], value);
}

/*
 * No attack: what is touched after REPORT, and after RETURN and BORROW, reads as
 * zeros. The page allocator clears what it hands out, so only raw access can tell.
 */
static void attack_zeros(struct hostile *h)
{
	u64 *p = memremap(h->window_addr, MEMLEASE_BLOCK_BYTES, MEMREMAP_WB);
	int status;

	if (!p)
		return;
	status = ask(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 1);
	pr_info("hostile: borrow %d, %u words not zero\n", status, other_words(p, 0));
	fill_words(p, 0x5ec4e7);
	pr_info("hostile: filled, %u words differ\n", other_words(p, 0x5ec4e7));
	status = ask(h, MEMLEASE_REQ_REPORT, MEMLEASE_REGION_WINDOW, 0, 1);
	pr_info("hostile: report %d, %u words not zero\n", status, other_words(p, 0));
	fill_words(p, 0x5ec4e7);
	status = ask(h, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 0, 1);
	status += ask(h, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 1);
	pr_info("hostile: return and borrow %d, %u words not zero\n", status, other_words(p, 0));
	memunmap(p);
}

/* The same without waiting for answers: the ring always full, the bell always rung. */
static void attack_bell(struct hostile *h)
{
	set_extent(h, 0, MEMLEASE_REGION_WINDOW, 0, 1);
	prepare(h, MEMLEASE_REQ_BORROW, 1);
	for (int i = 0; i < FLOOD_REQUESTS; i++) {
		virtqueue_notify(h->vq);
		cond_resched();
	}
}

static void attack_touch(struct hostile *h)
{
	u64 *p = memremap(h->window_addr + 5 * MEMLEASE_BLOCK_BYTES, PAGE_SIZE, MEMREMAP_WB);

	if (!p)
		return;
	pr_info("hostile: touching a vacant slot\n");
	msleep(200);	/* let the line reach the console */
	WRITE_ONCE(*p, 1);
	pr_info("hostile: the touch was served\n");
	memunmap(p);
}

static const struct {
	const char *name;
	void (*run)(struct hostile *h);
} attacks[] = {
	{ "none", attack_none },
	{ "range", attack_range },
	{ "wrap", attack_wrap },
	{ "empty", attack_empty },
	{ "region", attack_region },
	{ "borrow-boot", attack_borrow_boot },
	{ "type", attack_type },
	{ "report-vacant", attack_report_vacant },
	{ "report-ring", attack_report_ring },
	{ "overlap", attack_overlap },
	{ "too-many", attack_too_many },
	{ "short", attack_short },
	{ "count-lies", attack_count_lies },
	{ "no-room", attack_no_room },
	{ "chain-loop", attack_chain_loop },
	{ "next-outside", attack_next_outside },
	{ "head-outside", attack_head_outside },
	{ "index-jump", attack_index_jump },
	{ "bad-address", attack_bad_address },
	{ "hole-address", attack_hole_address },
	{ "window-address", attack_window_address },
	{ "indirect", attack_indirect },
	{ "flood", attack_flood },
	{ "zeros", attack_zeros },
	{ "bell", attack_bell },
	{ "touch", attack_touch },
};

/* Attack, then wait for the device to break; short where it should not. */
static int carry_out(struct hostile *h)
{
	unsigned long end;
	u32 flags = 0;
	u16 reason = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(attacks); i++)
		if (!strcmp(attacks[i].name, attack))
			break;
	if (i == ARRAY_SIZE(attacks))
		return -EINVAL;
	attacks[i].run(h);
	end = jiffies + msecs_to_jiffies(BREAK_WAIT_MS);
	do {
		virtio_cread_le(h->vdev, struct memlease_config, flags, &flags);
		if (flags & MEMLEASE_CFG_BROKEN)
			break;
		msleep(20);
	} while (time_before(jiffies, end));
	virtio_cread_le(h->vdev, struct memlease_config, broken_reason, &reason);
	if (flags & MEMLEASE_CFG_BROKEN)
		pr_info("hostile: %s broken %u\n", attack, reason);
	else
		pr_info("hostile: %s unharmed\n", attack);
	return 0;
}

static void free_buffers(struct buffers *b)
{
	free_page((unsigned long)b->req);
	free_page((unsigned long)b->resp);
}

static int alloc_buffers(struct buffers *b)
{
	b->req = (void *)get_zeroed_page(GFP_KERNEL);
	b->resp = (void *)get_zeroed_page(GFP_KERNEL);
	if (!b->req || !b->resp) {
		free_buffers(b);
		return -ENOMEM;
	}
	b->ext = (void *)(b->req + 1);
	b->answers = (void *)(b->resp + 1);
	return 0;
}

static int hostile_probe(struct virtio_device *vdev)
{
	struct hostile *h = kzalloc(sizeof(*h), GFP_KERNEL);
	u64 window_bytes;
	int err;

	if (!h)
		return -ENOMEM;
	h->vdev = vdev;
	vdev->priv = h;
	err = alloc_buffers(&h->buf);
	if (err)
		goto free;
	virtio_cread_le(vdev, struct memlease_config, window_addr, &h->window_addr);
	virtio_cread_le(vdev, struct memlease_config, window_bytes, &window_bytes);
	h->window_blocks = window_bytes >> MEMLEASE_BLOCK_SHIFT;
	h->vq = virtio_find_single_vq(vdev, answered, "request");
	if (IS_ERR(h->vq)) {
		err = PTR_ERR(h->vq);
		goto free_buf;
	}
	h->size = virtqueue_get_vring_size(h->vq);
	h->desc = phys_to_virt(virtqueue_get_desc_addr(h->vq));
	h->avail = phys_to_virt(virtqueue_get_avail_addr(h->vq));
	h->used = phys_to_virt(virtqueue_get_used_addr(h->vq));
	virtio_device_ready(vdev);
	err = carry_out(h);
	if (!err)
		return 0;
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
free_buf:
	free_buffers(&h->buf);
free:
	kfree(h);
	return err;
}

static void hostile_remove(struct virtio_device *vdev)
{
	struct hostile *h = vdev->priv;

	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	free_buffers(&h->buf);
	kfree(h);
}

static const struct virtio_device_id ids[] = {
	{ VIRTIO_ID_MEMLEASE, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static unsigned int features[] = {
	MEMLEASE_F_REPORTING,
	MEMLEASE_F_STATS,
};

static struct virtio_driver hostile_driver = {
	.driver.name = "hostile",
	.driver.owner = THIS_MODULE,
	.id_table = ids,
	.feature_table = features,
	.feature_table_size = ARRAY_SIZE(features),
	.probe = hostile_probe,
	.remove = hostile_remove,
};
module_virtio_driver(hostile_driver);

MODULE_DESCRIPTION("memlease: a hostile guest, for tests");
MODULE_LICENSE("GPL");
