/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: QMP's wire format, the commands of schema.json. Made by
 * daemon/; everything runs on the event loop's thread, except bill queries,
 * which read the ledger in a thread of their own. Clients are hostile: each is
 * bounded in what it may send, queue and keep waiting, and none can delay the
 * serving of touches (its sources have a lower priority than vhost/'s).
 */
#ifndef ML_CTL_CTL_H
#define ML_CTL_CTL_H

#include <stdint.h>
#include <systemd/sd-event.h>
#include <sys/types.h>

#include "../base/clock.h"
#include "../bill/plans.h"
#include "../lend/lend.h"
#include "../vhost/vhost.h"

#define CTL_CLIENTS_MAX 64
#define CTL_CLIENTS_RESERVED 8		/* of them, for root and the daemon's own user */
#define CTL_EVENT_PRIORITY 100		/* of sd-event; the default is 0, and goes first */

struct ctl_server;

struct ctl_config {
	sd_event *event;
	struct lender *lender;
	struct vhost_server *vhost;
	const struct plans *plans;
	const struct ml_clock *clock;
	const char *state_dir, *pool_dir, *ledger_path;	/* shown by query-pool; absolute */
	const char *vm_dir;		/* sockets of VMs: NAME.vhost.sock, NAME.qmp.sock */
};

/*
 * Serve on listen_fd, a listening unix socket, which is taken in every case. All
 * pointers of config must live as long as the server. -EINVAL (the embedded
 * schema is broken: a bug), -ENOMEM, or sd-event's errors. Starts no thread.
 */
int ctl_new(struct ctl_server **out, const struct ctl_config *config, int listen_fd);

/* Cuts off every client and waits for bill queries under way. NULL is fine. */
void ctl_free(struct ctl_server *server);

/*
 * Bind and listen at path, mode 0660, belonging to uid and gid, in place of a
 * socket that nobody serves. Returns the descriptor, or -ENAMETOOLONG,
 * -EEXIST (something else than a socket), -EADDRINUSE (served by somebody), or
 * the system's. The reason is logged.
 */
int ctl_listen(const char *path, uid_t uid, gid_t gid);

/* What happened in the lender, told to every client. server may be NULL. */
void ctl_lend_event(struct ctl_server *server, const struct lend_event *event);

/* A VM's socket: vm_dir/NAME.vhost.sock. -ENAMETOOLONG if a socket cannot have that path. */
int ctl_vhost_path(const struct ctl_config *config, const char *vm, char *path, size_t size);

#endif /* ML_CTL_CTL_H */
