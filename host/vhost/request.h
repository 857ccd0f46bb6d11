/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queue 0: requests. Takes one chain at a time from the ring, has it checked,
 * carries it out through lend_*(), writes the response, completes it. A large
 * request is carried out in pieces over several turns of the event loop; if it
 * is cut off in between, by a stop, a new memory table or the daemon's end, it
 * is carried out again from its start, which the protocol allows.
 */
#ifndef ML_VHOST_REQUEST_H
#define ML_VHOST_REQUEST_H

#include <stdbool.h>

#include "check.h"
#include "virtq.h"

/*
 * What one VM may cause in one turn, in units: a request costs 1, a slot that is
 * reported or returned 1 (5 to 15 us on huge pages), REQUEST_BORROW_PER_UNIT
 * borrowed slots 1. About 2 ms; where the source has to wait for QEMU it takes longer, so
 * no call to the lender follows one that has passed REQUEST_TURN_NS.
 */
#define REQUEST_UNITS_PER_TURN 128
#define REQUEST_TURN_NS 2000000
#define REQUEST_BORROW_PER_UNIT 64

struct request_job {
	bool active;			/* checked, and perhaps half done */
	struct virtq_chain chain;
	struct check_request req;
	uint32_t piece;			/* under way */
	uint64_t piece_done;		/* its slots done */
	uint32_t done[MEMLEASE_MAX_EXTENTS];
	enum memlease_reason reason[MEMLEASE_MAX_EXTENTS];	/* why not all of the extent */
};

struct request_env {
	struct lend_vm *vm;
	struct gmem *gmem;
	uint64_t features;
	struct virtq *queues;		/* all MEMLEASE_VQ_COUNT of them: their rings are busy slots */
};

/*
 * Handle requests until the ring is empty (0) or units or time are used up (1). -EAGAIN:
 * waits for a block. -EPROTO: a violation; *reason and why say which.
 */
int request_run(struct request_job *job, const struct request_env *env, unsigned int *units,
		enum memlease_broken *reason, struct ml_why *why);

/* The ring stops or moves: what is half done is forgotten. */
static inline void request_drop(struct request_job *job)
{
	job->active = false;
}

#endif /* ML_VHOST_REQUEST_H */
