// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Queue 0: requests. See request.h. Nothing is checked here; check.c did.
 */
#include "request.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Rings of all queues, an indirect table, the chain's buffers. */
#define BUSY_MAX (VIRTQ_PARTS * MEMLEASE_VQ_COUNT + 1 + VIRTQ_SPANS_MAX)

static size_t list_busy(const struct request_env *env, const struct virtq_chain *chain,
			struct gmem_span busy[BUSY_MAX])
{
	size_t n = 0;

	/* Also of a queue that does not run yet. */
	for (int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		n += virtq_parts(&env->queues[i], env->gmem, busy + n);
	if (chain->table.len)
		busy[n++] = chain->table;
	memcpy(busy + n, chain->span, chain->spans * sizeof(*busy));
	return n + chain->spans;
}

/* Copy the request once, check it. */
static int request_check(struct request_job *job, const struct request_env *env,
			 enum memlease_broken *reason, struct ml_why *why)
{
	uint8_t bytes[CHECK_REQUEST_BYTES_MAX];
	struct gmem_span busy[BUSY_MAX];
	struct check_env check = {
		.vm = env->vm,
		.gmem = env->gmem,
		.features = env->features,
		.read_bytes = job->chain.read_bytes,
		.write_bytes = job->chain.write_bytes,
		.busy = busy,
		.busy_count = list_busy(env, &job->chain, busy),
	};
	size_t len = check.read_bytes < sizeof(bytes) ? (size_t)check.read_bytes : sizeof(bytes);
	int r = virtq_read(&job->chain, env->gmem, bytes, len);

	if (r < 0)
		return r;
	*reason = check_request(&check, bytes, &job->req, why);
	return *reason ? -EPROTO : 0;
}

static bool has_extents(enum memlease_request_type type)
{
	return type != MEMLEASE_REQ_STATS && type != MEMLEASE_REQ_QUERY;
}

/* Has the driver withdrawn it? If not, from now on it cannot any more. */
static int request_claim(struct request_job *job, const struct request_env *env,
			 enum memlease_broken *reason, struct ml_why *why)
{
	uint32_t was;
	int r;

	if (!(env->features & 1ULL << MEMLEASE_F_WITHDRAW) || !has_extents(job->req.type))
		return 0;
	r = virtq_swap32(&job->chain, env->gmem, offsetof(struct memlease_response, done_blocks),
			 MEMLEASE_OPEN, MEMLEASE_BEGUN, &was);
	if (r == -EINVAL) {
		*reason = MEMLEASE_BROKEN_LENGTH;
		return ml_refuse(why, -EPROTO,
				 "done_blocks of a response does not lie in one descriptor at a multiple of 4");
	}
	if (r == 0 && was == MEMLEASE_WITHDRAWN) {
		job->piece = job->req.pieces;
		for (uint32_t i = 0; i < job->req.count; i++)
			job->reason[i] = MEMLEASE_WHY_WITHDRAWN;
	}
	return r;
}

static int request_begin(struct request_job *job, const struct request_env *env,
			 enum memlease_broken *reason, struct ml_why *why)
{
	struct virtq *q = &env->queues[MEMLEASE_VQ_REQUEST];
	int r = request_check(job, env, reason, why);

	if (r < 0)
		return r;
	/* What is answered must not wait for a block when it has been carried out. */
	r = virtq_ready(q, &job->chain, env->gmem,
			check_response_bytes(job->req.type, job->req.count));
	if (r < 0)
		return r;
	job->piece = 0;
	job->piece_done = 0;
	memset(job->done, 0, sizeof(job->done));
	memset(job->reason, 0, sizeof(job->reason));
	r = request_claim(job, env, reason, why);
	if (r < 0)
		return r;
	job->active = true;
	return 0;
}

static int piece_call(const struct request_env *env, enum memlease_request_type type,
		      const struct gmem_run *run, uint64_t *done, enum memlease_reason *reason)
{
	switch (type) {
	case MEMLEASE_REQ_BORROW:
		return lend_borrow(env->vm, run->first, run->count, done, reason);
	case MEMLEASE_REQ_RETURN:
		return lend_return(env->vm, run->first, run->count, done, reason);
	case MEMLEASE_REQ_REPORT:
		return lend_report(env->vm, run->region, run->first, run->count, done, reason);
	case MEMLEASE_REQ_STATS:
	case MEMLEASE_REQ_QUERY:
		break;
	}
	assert(!"a request without extents has no pieces");
	return -EUCLEAN;
}

/* On to the next piece; behind a shortfall, to the next extent's first. */
static void piece_finish(struct request_job *job, bool short_of)
{
	uint32_t extent = job->req.piece[job->piece].extent;

	job->piece++;
	job->piece_done = 0;
	while (short_of && job->piece < job->req.pieces &&
	       job->req.piece[job->piece].extent == extent)
		job->piece++;
}

/* One call to the lender, as large as the units allow. */
static void piece_step(struct request_job *job, const struct request_env *env,
		       unsigned int *units)
{
	const struct check_piece *p = &job->req.piece[job->piece];
	uint64_t per_unit = job->req.type == MEMLEASE_REQ_BORROW ? REQUEST_BORROW_PER_UNIT : 1;
	uint64_t left = p->run.count - job->piece_done;
	uint64_t most = *units * per_unit;
	struct gmem_run run = {
		p->run.region, p->run.first + job->piece_done, left < most ? left : most,
	};
	enum memlease_reason reason = MEMLEASE_WHY_OK;
	uint64_t done = 0;
	int r = piece_call(env, job->req.type, &run, &done, &reason);

	/* The lender's own trouble is logged by it; for the guest the host is short. */
	if ((r < 0 || done < run.count) && reason == MEMLEASE_WHY_OK)
		reason = MEMLEASE_WHY_POOL;
	assert(done <= run.count);
	*units -= (unsigned int)((run.count + per_unit - 1) / per_unit);
	job->done[p->extent] += (uint32_t)done;
	job->piece_done += done;
	if (r < 0 || done < run.count) {
		job->reason[p->extent] = reason;
		piece_finish(job, true);
	} else if (job->piece_done == p->run.count) {
		piece_finish(job, false);
	}
}

struct response {
	struct memlease_response head;
	union {
		struct memlease_answer answer[MEMLEASE_MAX_EXTENTS];
		struct memlease_stat figure[MEMLEASE_MAX_STATS];
	};
};

static void answer_extents(const struct request_job *job, struct response *out)
{
	const struct check_request *req = &job->req;
	uint64_t done = 0, asked = 0;

	for (uint32_t i = 0; i < req->count; i++) {
		done += job->done[i];
		asked += req->asked[i];
		out->answer[i].done = htole32(job->done[i]);
		out->answer[i].reason = htole32(job->reason[i]);
	}
	out->head.status = htole16(done == asked ? MEMLEASE_DONE :
				   done == 0 ? MEMLEASE_REFUSED : MEMLEASE_PARTLY);
	out->head.count = htole16((uint16_t)req->count);
	out->head.done_blocks = htole32((uint32_t)done);
}

/* What the meter counts, as of now: the figures by their tags, from 1 on. */
static void answer_figures(const struct request_job *job, const struct request_env *env,
			   struct response *out)
{
	uint32_t count = job->req.count < MEMLEASE_QUERY_COUNT ? job->req.count
							      : MEMLEASE_QUERY_COUNT;
	struct vm_status s;

	lend_vm_status(env->vm, &s);
	const uint64_t value[MEMLEASE_QUERY_COUNT + 1] = {
		[MEMLEASE_QUERY_RESIDENT_BLOCKS] = s.resident_blocks,
		[MEMLEASE_QUERY_RESIDENT_BOOT_BLOCKS] = s.boot_resident_blocks,
		[MEMLEASE_QUERY_METERED_BLOCK_NS] = (uint64_t)s.resident_block_ns,
		[MEMLEASE_QUERY_COMMITTED_BLOCKS] = s.committed_blocks,
		[MEMLEASE_QUERY_METERED_HIGH] = (uint64_t)(s.resident_block_ns >> 64),
	};

	for (uint32_t i = 0; i < count; i++) {
		out->figure[i].tag = htole16((uint16_t)(i + 1));
		out->figure[i].value = htole64(value[i + 1]);
	}
	out->head.count = htole16((uint16_t)count);
}

static int request_answer(struct request_job *job, const struct request_env *env)
{
	const struct check_request *req = &job->req;
	size_t len = check_response_bytes(req->type, req->count);
	struct response out;
	int r;

	memset(&out, 0, sizeof(out));
	out.head.status = htole16(MEMLEASE_DONE);
	out.head.cookie = htole64(req->cookie);
	if (req->type == MEMLEASE_REQ_QUERY)
		answer_figures(job, env, &out);
	else if (has_extents(req->type))
		answer_extents(job, &out);
	r = virtq_write(&job->chain, env->gmem, &out, len);
	if (r == 0)
		r = virtq_complete(&env->queues[MEMLEASE_VQ_REQUEST], env->gmem, &job->chain,
				   (uint32_t)len);
	if (r == 0)
		job->active = false;
	return r;
}

/* 1: answered. 0: units or time are used up. */
static int request_continue(struct request_job *job, const struct request_env *env,
			    unsigned int *units, uint64_t end_ns)
{
	int r;

	while (job->piece < job->req.pieces) {
		if (*units == 0)
			return 0;
		piece_step(job, env, units);
		/* A piece for which the source had to wait: the others are not to. */
		if (lend_clock_ns(env->vm) >= end_ns)
			*units = 0;
	}
	if (job->req.type == MEMLEASE_REQ_STATS)
		for (uint32_t i = 0; i < job->req.count; i++)
			lend_vm_stat(env->vm, job->req.stat[i].tag, job->req.stat[i].value);
	r = request_answer(job, env);
	return r < 0 ? r : 1;
}

/* Everything that is not a wait ends the device; give it a reason and a text. */
static int request_failed(int r, enum memlease_broken *reason, struct ml_why *why)
{
	if (r == -EAGAIN)
		return r;
	if (r != -EPROTO)
		ml_refuse(why, r, "a request in boot memory cannot be reached: %s", strerror(-r));
	if (r != -EPROTO || *reason == MEMLEASE_BROKEN_NOT)
		*reason = MEMLEASE_BROKEN_RING;
	return -EPROTO;
}

int request_run(struct request_job *job, const struct request_env *env, unsigned int *units,
		enum memlease_broken *reason, struct ml_why *why)
{
	struct virtq *q = &env->queues[MEMLEASE_VQ_REQUEST];
	uint64_t end_ns = lend_clock_ns(env->vm) + REQUEST_TURN_NS;
	int r;

	*reason = MEMLEASE_BROKEN_NOT;
	while (*units > 0) {
		if (!job->active) {
			r = virtq_next(q, env->gmem, &job->chain, why);
			if (r == 0)
				return 0;
			if (r > 0)
				r = request_begin(job, env, reason, why);
			if (r < 0)
				return request_failed(r, reason, why);
			--*units;
		}
		r = request_continue(job, env, units, end_ns);
		if (r < 0) {
			if (r != -EAGAIN)
				job->active = false;
			return request_failed(r, reason, why);
		}
	}
	return 1;
}
