/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two VMs on one server: "bad", which does one wrong thing, and "good", which must
 * go on. Included by the tests with hostile input.
 */
#ifndef TEST_VHOST_PAIR_H
#define TEST_VHOST_PAIR_H

#include "test_vhost_rig.h"

struct pair {
	struct rig *r;
	struct guest *bad, *good;
};

static RIG_UNUSED struct pair pair_new(void)
{
	struct pair p = { .r = rig_new(256) };

	p.bad = guest_new(p.r, "bad");
	p.good = guest_new(p.r, "good");
	rig_spin(p.r);
	return p;
}

static RIG_UNUSED void assert_good_goes_on(struct pair *p)
{
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_BORROW, 1, 3, 2), 2);
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_REPORT, 1, 3, 2), 2);
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_RETURN, 1, 3, 2), 2);
	assert_int_equal(broken_reason(p->good), MEMLEASE_BROKEN_NOT);
	lender_validate(p->r->lender);
}

static RIG_UNUSED void pair_free(struct pair *p)
{
	guest_free(p->bad);
	guest_free(p->good);
	rig_free(p->r);
}

/* The device of "bad" is broken so, looks at nothing more, and is mended by reset. */
static RIG_UNUSED void assert_broken(struct pair *p, const char *what, enum memlease_broken reason,
			  const char *text)
{
	struct guest *g = p->bad;
	struct vm_status s;

	rig_spin(p->r);
	lend_vm_status(g->vm, &s);
	if (s.broken != reason || !strstr(s.broken_text, text))
		fail_msg("%s: broken %d \"%s\", not %d \"%s\"", what, s.broken, s.broken_text,
			 reason, text);
	assert_int_equal(p->r->broken, 1);
	assert_good_goes_on(p);
	/* The queue is dead: an honest request changes nothing. */
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), -1);
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, 1));
	assert_int_equal(p->r->broken, 1);

	guest_stop(g, NULL);
	assert_true(send_msg(g, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	rig_spin(p->r);
	assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_NOT);
	memset(at(g, BLOCK), 0, BLOCK);
	memset(g->avail, 0, sizeof(g->avail));
	memset(g->seen, 0, sizeof(g->seen));
	guest_start(g, RIG_FEATURES);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_good_goes_on(p);
}

/* What goes to standard error while it is caught. */
static int caught_fd = -1, stderr_fd;

static inline void catch_log(void)
{
	fflush(stderr);
	ml_log_set_level(ML_LOG_INFO);
	caught_fd = memfd_create("log", MFD_CLOEXEC);
	stderr_fd = dup(2);
	assert_true(caught_fd >= 0 && stderr_fd >= 0);
	assert_true(dup2(caught_fd, 2) == 2);
}

static inline void release_log(char *text, size_t size)
{
	ssize_t n;

	fflush(stderr);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	n = pread(caught_fd, text, size - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	close(caught_fd);
	ml_log_set_level(ML_LOG_ERR);
}

#endif /* TEST_VHOST_PAIR_H */
