// SPDX-License-Identifier: GPL-2.0-or-later
/* Serving touches, by what policy says; see serve.h. */
#include "serve.h"

#include <errno.h>
#include <stdlib.h>

#include "account.h"
#include "loan.h"
#include "tell.h"
#include "waiting.h"

#define ASK_NS 100000000ULL	/* between two looks at whom to ask while touches wait */

struct serve {
	uint64_t asked_ns;
	struct policy_vm snapshot[LEND_VMS_MAX];	/* of VMs with touches that wait */
};

int serve_init(struct lender *l)
{
	l->serve = calloc(1, sizeof(*l->serve));
	return l->serve ? 0 : -ENOMEM;
}

void serve_free(struct lender *l)
{
	free(l->serve);
	l->serve = NULL;
}

int serve_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
		const struct policy_pool *pool)
{
	bool own = account_resident(vm) < account_guarantee(vm);
	int ret = loan_in(vm, region, slot, now_ns, own || !pool->offered);

	if (ret == 0 && !own)
		account_kept(vm, pool);
	return ret;
}

/* The VM whose turn it is, or NULL; and the pool as it is. */
static struct lend_vm *next_waiter(struct lender *l, struct policy_pool *pool)
{
	struct lend_vm *vm;
	size_t n = 0;
	int best;

	for (vm = l->waiters; vm && n < LEND_VMS_MAX; vm = vm->wait_next)
		account_vm(vm, &l->serve->snapshot[n++]);
	account_pool(l, pool);
	best = policy_next_waiter(pool, l->serve->snapshot, n);
	if (best < 0)
		return NULL;
	for (vm = l->waiters; best > 0; best--)
		vm = vm->wait_next;
	return vm;
}

void serve_waiting(struct lender *l)
{
	unsigned int most = LEND_SERVE_MAX;

	l->due &= ~(unsigned int)DUE_SERVE;
	while (l->waiting && account_free(l)) {
		struct policy_pool pool;
		struct lend_vm *vm = next_waiter(l, &pool);
		uint64_t now_ns = lend_now(l);
		struct queued t;

		if (!vm)
			break;
		if (!most--) {
			l->due |= DUE_SERVE;
			break;
		}
		t = *queue_first(&vm->queue);
		if (slots_state(&vm->region[t.region].slots, t.slot) == SLOT_COMMITTED &&
		    serve_touch(vm, t.region, t.slot, now_ns, &pool) == -EAGAIN)
			break;	/* the source is short, or none is clean; tried again later */
		/* The source may have served it meanwhile. */
		if (!waiting_has(vm, t.region, t.slot))
			continue;
		loan_count_again(vm, now_ns);
		waiting_served(vm, now_ns);
	}
}

void serve_ask_vm(struct lend_vm *vm)
{
	vm->asked_ns = lend_now(vm->lender);
	tell_guest(vm, MEMLEASE_EV_REPORT_NOW, ++vm->event_seq, 0, 0);
}

void serve_ask(struct lender *l, uint64_t now_ns)
{
	struct serve *s = l->serve;
	struct policy_vm snap;

	if (!waiting_short(l) || (s->asked_ns && now_ns < s->asked_ns + ASK_NS))
		return;
	s->asked_ns = now_ns;
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		account_vm(vm, &snap);
		if (policy_ask(&snap, now_ns))
			serve_ask_vm(vm);
	}
}
