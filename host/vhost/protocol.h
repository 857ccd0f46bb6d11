/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user protocol as memlease speaks it: numbers, and the one function
 * that takes a message apart. Any message may come at any time and in any number;
 * the handlers keep the device in a state from which every other is safe.
 */
#ifndef ML_VHOST_PROTOCOL_H
#define ML_VHOST_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

struct vhost_device;
struct message;

/* Feature bit by which vhost-user announces its own features; never the guest's. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_F_CONFIG 9
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE 13

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
};

/* From us to QEMU. */
#define VHOST_USER_BACKEND_CONFIG_CHANGE_MSG 2

#define VHOST_USER_CONFIG_MAX 256	/* bytes of config space */
#define VHOST_USER_MEM_REGIONS_MAX 8
#define VHOST_USER_VRING_INDEX_MASK 0xffULL
#define VHOST_USER_VRING_NOFD (1ULL << 8)

/*
 * Handle a complete message: act, and reply where the protocol says so. 0, also
 * when QEMU was told no. -EPROTO: the connection must be closed, why says why.
 * -ENOBUFS, -ECONNRESET: the reply cannot be sent.
 */
int protocol_handle(struct vhost_device *d, struct message *m, char *why, size_t why_size);

#endif /* ML_VHOST_PROTOCOL_H */
