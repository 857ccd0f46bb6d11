// SPDX-License-Identifier: GPL-2.0-or-later
/* The price of breaking the rules; see offence.h. */
#include "offence.h"

#include <stdarg.h>
#include <stdio.h>

#include "../base/log.h"
#include "process.h"
#include "tell.h"

/* False: it was broken before. */
static bool note_break(struct lend_vm *vm, enum memlease_broken reason, const char *text)
{
	struct record *rec = vm->rec;

	if (rec->broken != MEMLEASE_BROKEN_NOT || reason == MEMLEASE_BROKEN_NOT)
		return false;
	snprintf(rec->broken_text, sizeof(rec->broken_text), "%s", text);
	rec->broken = reason;
	return true;
}

void offence_break(struct lend_vm *vm, enum memlease_broken reason, const char *text)
{
	unsigned int missed;

	if (!note_break(vm, reason, text))
		return;
	/* A reset mends it, and so a guest can break it as often as it likes. */
	if (ml_quiet_allows(&vm->breaks, lend_now(vm->lender) / 1000)) {
		missed = ml_quiet_missed(&vm->breaks);
		if (missed)
			ml_warn("VM %s: device broken: %s (and %u times since the last such line)",
				vm->rec->spec.name, text, missed);
		else
			ml_warn("VM %s: device broken: %s", vm->rec->spec.name, text);
		tell_event(vm->lender, LEND_EV_VM_BROKEN, vm, vm->rec->broken_text);
	}
	tell_config(vm);
}

void offence_stop(struct lend_vm *vm, const char *fmt, ...)
{
	char did[100], text[sizeof(vm->rec->broken_text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(did, sizeof(did), fmt, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s; QEMU (pid %d) was killed", did, (int)vm->rec->pid);
	if (note_break(vm, MEMLEASE_BROKEN_TOUCH, text)) {
		tell_event(vm->lender, LEND_EV_VM_BROKEN, vm, vm->rec->broken_text);
		tell_config(vm);
	}
	process_kill(vm->pidfd);
	ml_warn("VM %s: %s", vm->rec->spec.name, text);
	tell_event(vm->lender, LEND_EV_VM_STOPPED, vm, text);
}
