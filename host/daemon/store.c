// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The client's side of the descriptor store, by sd_notify(3). Runs on the event
 * loop's thread; the other side always reads, so a send does not wait.
 */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../base/log.h"
#include "../vhost/vhost.h"

#define UFFD_PREFIX "uffd."

const char *store_vm_of(const char *fd_name)
{
	return !strncmp(fd_name, UFFD_PREFIX, strlen(UFFD_PREFIX)) && fd_name[strlen(UFFD_PREFIX)] ?
		fd_name + strlen(UFFD_PREFIX) : NULL;
}

bool store_present(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

void store_drop(void *ctx, const char *name)
{
	char text[512];

	(void)ctx;
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	sd_notify(0, text);
}

void store_put(void *ctx, const char *name, int fd)
{
	char text[512];
	int ret;

	store_drop(ctx, name);
	/* A userfaultfd is readable for reasons of its own; the store shall not drop it for that. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	ret = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	if (ret < 0)
		ml_warn("descriptor store: %s was not taken: %s; after a restart touches wait for QEMU's reconnect",
			name, strerror(-ret));
}

int store_inherit(struct store_inherited *in)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names), i;

	memset(in, 0, sizeof(*in));
	in->control_fd = -1;
	if (count <= 0)
		return count;
	in->fds = calloc((size_t)count, sizeof(*in->fds));
	if (!in->fds)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (in->control_fd < 0 && sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0) {
			in->control_fd = fd;
		} else if (store_vm_of(names[i])) {
			in->fds[in->count].name = names[i];
			in->fds[in->count++].fd = fd;
			continue;
		} else {
			ml_warn("inherited descriptor '%s' is none that is known here; closed", names[i]);
			close(fd);
		}
		free(names[i]);
	}
	free(names);
	return 0;
}

void store_adopt(struct store_inherited *in, struct lender *lender)
{
	size_t i;

	for (i = 0; i < in->count; i++) {
		const char *name = in->fds[i].name;
		struct lend_vm *vm = lend_vm_find(lender, store_vm_of(name));
		int ret;

		if (vm) {
			ret = vhost_vm_adopt_uffd(vm, in->fds[i].fd);
			if (ret)
				ml_warn("descriptor store: %s is of no use: %s", name, strerror(-ret));
		} else {
			close(in->fds[i].fd);
			store_drop(NULL, name);
		}
		free(in->fds[i].name);
	}
	free(in->fds);
	in->fds = NULL;
	in->count = 0;
}
