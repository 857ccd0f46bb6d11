// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The client's side of the descriptor store. Runs on the event loop's thread.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/porter.h"
#include "../vhost/vhost.h"
#include "notify.h"

const char *store_vm_of(const char *fd_name)
{
	return !strncmp(fd_name, VHOST_STORE_PREFIX, strlen(VHOST_STORE_PREFIX)) && fd_name[strlen(VHOST_STORE_PREFIX)] ?
		fd_name + strlen(VHOST_STORE_PREFIX) : NULL;
}

bool store_present(void)
{
	return notify_present();
}

void store_drop(void *ctx, const char *name)
{
	(void)ctx;
	notify_store(name, -1);
}

void store_put(void *ctx, const char *name, int fd)
{
	(void)ctx;
	notify_store(name, fd);
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
			store_drop(NULL, name);
			ml_porter_dispose(0, in->fds[i].fd);
		}
		free(in->fds[i].name);
	}
	free(in->fds);
	in->fds = NULL;
	in->count = 0;
}
