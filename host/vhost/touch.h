/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Touches: reads from the userfaultfd that QEMU handed over which slots its
 * threads wait for, has the lender make them resident, and wakes the threads.
 * The descriptor and the layout outlive QEMU's connection and the daemon.
 * Nothing here is asked of the guest; called by the event loop and protocol.c.
 */
#ifndef ML_VHOST_TOUCH_H
#define ML_VHOST_TOUCH_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "../lend/lend.h"
#include "quiet.h"

#define TOUCHES_PER_TURN 16	/* messages of one VM in one turn of the event loop; up to 4 ms */
#define TOUCH_INTERRUPTED_MOST 16	/* readings in a row; each takes 2 ms at most */

struct touch {
	sd_event *event;	/* borrowed */
	struct lend_vm *vm;
	struct ml_quiet *quiet;	/* the VM's */
	uint64_t owner;		/* of the descriptor, to the porter */
	int fd;			/* the userfaultfd, owned, or -1 */
	sd_event_source *source;
	unsigned int interrupted;	/* readings, since there was something to read */
	uint64_t hva[MEMLEASE_REGION_COUNT];
	uint64_t bytes[MEMLEASE_REGION_COUNT];
};

void touch_init(struct touch *t, sd_event *event, struct lend_vm *vm, struct ml_quiet *quiet,
		uint64_t owner);
void touch_close(struct touch *t);

/*
 * Serve this userfaultfd, in place of one before; hva: where the regions are in
 * QEMU. Takes fd in every case. Everyone who waits in the regions is woken once:
 * what an earlier daemon had read and not served comes up again. 0 or -errno.
 */
int touch_serve(struct touch *t, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT]);

/* Wake whoever waits for a slot. Without a userfaultfd nothing. */
void touch_wake(struct touch *t, enum memlease_region region, uint64_t slot);

#endif /* ML_VHOST_TOUCH_H */
