/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user back-end: what the rest of the daemon sees of it. One server
 * per daemon; one listening socket, device and userfaultfd per VM. All input,
 * from guests and from QEMU, is hostile; all of it is checked in this folder.
 *
 * Everything runs on the event loop's thread and never waits. The lender must
 * outlive the server. The per-VM object hangs at lend_vm_user() and belongs to
 * this folder alone.
 *
 * Start-up, in this order:
 *	lender_open(&l, &config, &hooks)	with the three vhost_on_*() as hooks
 *	vhost_new(&s, event, l, &store)
 *	for each VM: vhost_vm_listen(s, vm, path)
 *	for each descriptor VHOST_STORE_PREFIX<vm> of the store: vhost_vm_adopt_uffd(vm, fd)
 */
#ifndef ML_VHOST_VHOST_H
#define ML_VHOST_VHOST_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "../lend/lend.h"
#include "uffd.h"

struct vhost_server;

/* Takes a reference on event; installs the SIGBUS handler. -ENOMEM or sd-event's errors. */
int vhost_new(struct vhost_server **out, sd_event *event, struct lender *lender,
	      const struct vhost_store *store);

/*
 * Closes all sockets and userfaultfds of this process, ends no VM, removes no
 * socket file and drops nothing from the store. NULL is fine.
 */
void vhost_free(struct vhost_server *s);

/*
 * Make the VM reachable: a listening socket at path, mode 0600, in place of
 * whatever socket is there (-EEXIST if it is something else than a socket).
 * From here on this folder watches the VM: QEMU's connection, its process (by
 * lend_vm_pidfd(); when it ends, the VM's own object goes, then lend_vm_end()
 * is called), its touches. Until a QEMU has connected a file beside the socket says so
 * (start_mark.h). -EALREADY if called twice for a VM;
 * -ENAMETOOLONG (107 bytes at most), or the system's. The reason is logged.
 */
int vhost_vm_listen(struct vhost_server *s, struct lend_vm *vm, const char *path);

/*
 * At start-up: the userfaultfd found in the store. Takes fd in every case. With
 * it, and the layout in the VM's record, touches are served before QEMU
 * reconnects. -EINVAL if it is no userfaultfd or the VM has no layout, or what the
 * event loop says: fd is closed and dropped from the store. vhost_vm_listen() comes first.
 */
int vhost_vm_adopt_uffd(struct lend_vm *vm, int fd);

/*
 * Before lend_vm_delete(), and for no other reason: closes everything of the VM,
 * removes its socket file, drops its descriptor from the store. A VM without an
 * object is fine.
 */
void vhost_vm_forget(struct lend_vm *vm);

/*
 * The lender's hooks; members of struct lend_hooks. They only take notes: the
 * work is done from the event loop. ctx is not looked at. Of a RETIRED event,
 * seq is the region, and a and b are slots of its file.
 */
void vhost_on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot);
void vhost_on_config_changed(void *ctx, struct lend_vm *vm);
void vhost_on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			  uint32_t seq, uint64_t a, uint64_t b);

#endif /* ML_VHOST_VHOST_H */
