/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hooks by which the layers above hear of things; see struct lend_hooks. */
#ifndef ML_LEND_TELL_H
#define ML_LEND_TELL_H

#include "lender.h"

/* To operators. vm and text may be NULL. */
static inline void tell_event(struct lender *l, enum lend_event_type type,
			      const struct lend_vm *vm, const char *text)
{
	struct lend_event e = { .type = type, .vm = vm ? vm->rec->spec.name : NULL, .text = text };

	l->hooks.event(l->hooks.ctx, &e);
}

/* Of a VM without a record, which has no name. */
static inline void tell_orphan(struct lender *l, enum lend_event_type type, const char *uuid,
			       const char *text)
{
	struct lend_event e = { .type = type, .vm = uuid, .text = text };

	l->hooks.event(l->hooks.ctx, &e);
}

/* The VM's config space reads otherwise now. */
static inline void tell_config(struct lend_vm *vm)
{
	vm->lender->hooks.config_changed(vm->lender->hooks.ctx, vm);
}

/* To the guest: an event of the protocol. */
static inline void tell_guest(struct lend_vm *vm, enum memlease_event_type type, uint32_t seq,
			      uint64_t a, uint64_t b)
{
	vm->lender->hooks.guest_event(vm->lender->hooks.ctx, vm, type, seq, a, b);
}

/* A touch that waited need not wait any more. */
static inline void tell_served(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	vm->lender->hooks.served(vm->lender->hooks.ctx, vm, region, slot);
}

#endif /* ML_LEND_TELL_H */
