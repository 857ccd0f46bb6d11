/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one place where a guest's request is checked. In: the bytes, copied once
 * from guest memory. Out: the request in host order, with its extents already
 * translated to slots of the files, or what is wrong with it. Nothing is changed
 * here. Called by request.c.
 */
#ifndef ML_VHOST_CHECK_H
#define ML_VHOST_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "gmem.h"

#define CHECK_REQUEST_BYTES_MAX \
	(sizeof(struct memlease_request) + MEMLEASE_MAX_EXTENTS * sizeof(struct memlease_extent))

/* Extents do not overlap, so each edge between regions of the memory table cuts one extent at most. */
#define CHECK_PIECES_MAX (MEMLEASE_MAX_EXTENTS + GMEM_REGIONS_MAX)

struct check_piece {
	uint32_t extent;	/* which one of the request */
	struct gmem_run run;
};

struct check_stat {
	uint16_t tag;
	uint64_t value;
};

struct check_request {
	enum memlease_request_type type;
	uint32_t count;
	uint64_t cookie;
	uint32_t asked[MEMLEASE_MAX_EXTENTS];		/* slots of each extent */
	uint32_t pieces;
	struct check_piece piece[CHECK_PIECES_MAX];	/* in the order of the extents */
	struct check_stat stat[MEMLEASE_MAX_STATS];
};

struct check_env {
	const struct lend_vm *vm;
	const struct gmem *gmem;
	uint64_t features;		/* negotiated */
	uint64_t read_bytes, write_bytes; /* of the chain */
	const struct gmem_span *busy;	/* what a REPORT must not name */
	size_t busy_count;
};

/* Response bytes of a request. */
size_t check_response_bytes(enum memlease_request_type type, uint32_t count);

/*
 * bytes: the first min(read_bytes, CHECK_REQUEST_BYTES_MAX) of the readable part.
 * MEMLEASE_BROKEN_NOT, or the violation, and then why names the value.
 */
enum memlease_broken check_request(const struct check_env *env, const void *bytes,
				   struct check_request *out, struct ml_why *why);

#endif /* ML_VHOST_CHECK_H */
