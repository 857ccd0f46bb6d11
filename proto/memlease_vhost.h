/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memlease: what the device in QEMU and the daemon say to each other beyond
 * the standard vhost-user protocol: one message from QEMU to the daemon.
 *
 * On the `file` backend QEMU registers both regions with one userfaultfd
 * (missing mode) and hands it over, before the guest runs and again after every
 * reconnect, always the same descriptor. The daemon then serves the first touch
 * of each slot. It answers as REPLY_ACK tells it to: 0, or 1 if it refuses.
 *
 * The message stands in no feature bit: a back-end that is not memlease's
 * never sees it, because the device refuses back-ends of another ABI version.
 *
 * Integers are in the byte order of the host, as in all of vhost-user.
 */
#ifndef MEMLEASE_VHOST_H
#define MEMLEASE_VHOST_H

#include <linux/types.h>

/* vhost-user request number; far from the standard ones. One descriptor: the userfaultfd. */
#define MEMLEASE_VHOST_SET_UFFD	0x4d4c0001

/* Where one region's file is mapped in QEMU, whole and from offset 0. */
struct memlease_vhost_region {
	__u32 region;		/* enum memlease_region */
	__u32 reserved;		/* 0 */
	__u64 gpa;		/* window: its guest-physical address; boot memory: 0 */
	__u64 hva;		/* address in QEMU, a multiple of 2 MiB */
	__u64 bytes;		/* a multiple of 2 MiB */
};

/* Payload of MEMLEASE_VHOST_SET_UFFD: boot memory, then the window. */
struct memlease_vhost_uffd {
	__u32 version;		/* MEMLEASE_ABI_VERSION */
	__u32 count;		/* 2 */
	struct memlease_vhost_region regions[2];
};

_Static_assert(sizeof(struct memlease_vhost_region) == 32, "memlease_vhost_region is frozen");
_Static_assert(sizeof(struct memlease_vhost_uffd) == 72, "memlease_vhost_uffd is frozen");

#endif /* MEMLEASE_VHOST_H */
