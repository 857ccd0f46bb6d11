/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's half of the descriptor store: descriptors by name, and the
 * messages, in the words of sd_notify(3), that change them. Used by keep.c; trusts no message,
 * for what the daemon says may have been said by one that is going wrong.
 */
#ifndef ML_DAEMON_KEEP_STORE_H
#define ML_DAEMON_KEEP_STORE_H

#include <stddef.h>

#define KEEP_FDS_MAX 4096
#define KEEP_NAME_MAX 254	/* as in systemd; no colon, no control characters */
#define KEEP_ENV_MAX 120000	/* bytes of LISTEN_FDNAMES; the kernel takes 128 KiB a string */

#define KEEP_LEAVERS_MAX 256	/* children that are left with descriptors, at a time */

struct keep_store {
	unsigned int leavers;	/* children, see base/leave.h */
	size_t gone_count;	/* descriptors that wait for a child */
	int gone[KEEP_FDS_MAX];
	size_t count;
	struct keep_fd {
		char *name;
		int fd;
	} fds[KEEP_FDS_MAX];
};

/* What a message said, besides what it stored. */
enum keep_said {
	KEEP_READY = 1 << 0,
	KEEP_WATCHDOG = 1 << 1,
};

/*
 * Carry out one message; text need not end in NUL. All of fds are taken: stored
 * or left to a child, because closing the last copy of a userfaultfd may take as long as its
 * process likes. Returns what was said, an or of enum keep_said.
 */
unsigned int keep_store_message(struct keep_store *store, const char *text, size_t len,
				const int *fds, size_t fd_count);

/*
 * The value of LISTEN_FDNAMES, to be freed, for the first *count descriptors,
 * which are all of them unless the names are too long together. NULL: no memory.
 */
char *keep_store_names(const struct keep_store *store, size_t *count);

/* One of the children has ended, and been reaped. */
void keep_store_child_ended(struct keep_store *store);

void keep_store_clear(struct keep_store *store);

#endif /* ML_DAEMON_KEEP_STORE_H */
