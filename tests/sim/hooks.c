// SPDX-License-Identifier: GPL-2.0-or-later
/* What the simulation notes of what the lender tells the layers above. */
#include <poll.h>
#include <string.h>

#include "world.h"

static void on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	(void)ctx;
	(void)vm;
	(void)region;
	(void)slot;
	world->woken++;
}

static void on_config(void *ctx, struct lend_vm *vm)
{
	(void)ctx;
	(void)vm;
}

static void on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			   uint32_t seq, uint64_t a, uint64_t b)
{
	struct sim_region *r = type == MEMLEASE_EV_RETIRED ?
			       sim_region_of(vm, (enum memlease_region)seq) : NULL;

	(void)ctx;
	(void)b;
	if (r)
		r->told[a] = true;
}

bool sim_has_ended(const struct lend_vm *vm, int limit_ms)
{
	struct pollfd pidfd = { .fd = lend_vm_pidfd(vm), .events = POLLIN };

	return pidfd.fd >= 0 && poll(&pidfd, 1, limit_ms) > 0;
}

/* One that the lender kills is dead at once, or a seed would be another one each time. */
static void on_event(void *ctx, const struct lend_event *e)
{
	struct lend_vm *vm = NULL;

	(void)ctx;
	while (lender && e->type == LEND_EV_VM_STOPPED && (vm = lend_vm_next(lender, vm))) {
		if (!strcmp(vm->rec->spec.name, e->vm))
			sim_has_ended(vm, -1);
	}
}

const struct lend_hooks sim_hooks = { on_served, on_config, on_guest_event, on_event, NULL };
