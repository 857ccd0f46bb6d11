/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user protocol as memlease speaks it: the one function that takes a message
 * apart. Any message may come at any time and in any number; the handlers keep the device
 * in a state from which every other is safe.
 */
#ifndef ML_VHOST_PROTOCOL_H
#define ML_VHOST_PROTOCOL_H

#include "../base/why.h"
#include "vhost_user.h"

struct vhost_device;
struct message;

/*
 * Handle a complete message: act, and reply where the protocol says so. 0, also
 * when QEMU was told no. -EPROTO: the connection must be closed, why says why.
 * -ENOBUFS, -ECONNRESET: the reply cannot be sent.
 */
int protocol_handle(struct vhost_device *d, struct message *m, struct ml_why *why);

#endif /* ML_VHOST_PROTOCOL_H */
