/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The descriptor store: copies of userfaultfds kept by whoever started the
 * daemon (systemd, or memleased --keep), so that the next daemon gets them at
 * its start. Without one nothing survives, and touches after a restart wait for
 * QEMU's reconnect. Used by main.c; its two functions are the members of struct
 * vhost_store.
 */
#ifndef ML_DAEMON_STORE_H
#define ML_DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "../lend/lend.h"

/* "uffd.NAME" gives NAME, anything else NULL. */
const char *store_vm_of(const char *fd_name);

/* Is there a store? */
bool store_present(void);

/* Keep a copy of fd under name, in place of what was there. */
void store_put(void *ctx, const char *name, int fd);
void store_drop(void *ctx, const char *name);

/* What a predecessor left, and listening sockets that were passed. */
struct store_inherited {
	size_t count;
	struct store_fd {
		char *name;
		int fd;
	} *fds;
	int control_fd;		/* a listening unix socket, or -1 */
};

/* Take what was inherited; closes what it does not know. 0, or -ENOMEM or the like. */
int store_inherit(struct store_inherited *in);

/*
 * Hand the userfaultfds to their VMs, which listen already. One whose VM is gone
 * is dropped. *in is empty afterwards, but for control_fd.
 */
void store_adopt(struct store_inherited *in, struct lender *lender);

#endif /* ML_DAEMON_STORE_H */
