// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end against chance: messages in any order with any contents
 * and descriptors, and rings full of half-sensible bytes. Nothing may crash, hang
 * or leak, the lender's sums must hold, and another VM must go on. The seed is
 * printed; MEMLEASE_TEST_SEED repeats a run, MEMLEASE_TEST_STEPS makes it longer.
 */
#include "test_vhost_rig.h"
#include "porter_direct.h"

#define SEEDS 3
#define MESSAGE_STEPS 1000
#define RING_STEPS 2500
#define CHECK_EVERY 100

static uint64_t rng_state;

static uint64_t rnd(void)
{
	/* xorshift64* */
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
}

static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

/* A number that has a meaning somewhere. */
static uint64_t some_number(const struct guest *g)
{
	switch (below(12)) {
	case 0:
		return rnd();
	case 1:
		return UINT64_MAX - below(3 * BLOCK);
	case 2:
		return below(300);
	case 3:
		return 1ULL << below(64);
	case 4:
		return (uintptr_t)g->window + below(RIG_WINDOW * BLOCK);
	case 5:
		return RIG_WINDOW_GPA + below(RIG_WINDOW * BLOCK);
	case 6:
		return 4 * GIB + below(12 * BLOCK);
	case 7:
		return (uintptr_t)g->boot + (below(RIG_BOOT * 512) << 12);
	default:
		return BLOCK + (below(1024) << 12) + below(2) * 16;
	}
}

static void assert_good_goes_on(struct rig *r, struct guest *good)
{
	rig_spin(r);
	if (ask_one(good, MEMLEASE_REQ_BORROW, 1, 3, 2) != 2 ||
	    ask_one(good, MEMLEASE_REQ_RETURN, 1, 3, 2) != 2)
		fail_msg("the good VM does not go on");
	lender_validate(r->lender);
}

/* --- messages ------------------------------------------------------------------- */

static const struct {
	uint32_t request, size;
	int fds;
} known[] = {
	{ VHOST_USER_GET_FEATURES, 0, 0 },
	{ VHOST_USER_SET_FEATURES, 8, 0 },
	{ VHOST_USER_SET_OWNER, 0, 0 },
	{ VHOST_USER_RESET_OWNER, 0, 0 },
	{ VHOST_USER_SET_MEM_TABLE, 8 + 4 * 32, 4 },
	{ VHOST_USER_SET_VRING_NUM, 8, 0 },
	{ VHOST_USER_SET_VRING_ADDR, 40, 0 },
	{ VHOST_USER_SET_VRING_BASE, 8, 0 },
	{ VHOST_USER_GET_VRING_BASE, 8, 0 },
	{ VHOST_USER_SET_VRING_KICK, 8, 1 },
	{ VHOST_USER_SET_VRING_CALL, 8, 1 },
	{ VHOST_USER_SET_VRING_ERR, 8, 1 },
	{ VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0 },
	{ VHOST_USER_SET_PROTOCOL_FEATURES, 8, 0 },
	{ VHOST_USER_SET_VRING_ENABLE, 8, 0 },
	{ VHOST_USER_SET_BACKEND_REQ_FD, 0, 1 },
	{ VHOST_USER_GET_CONFIG, 12 + 64, 0 },
	{ VHOST_USER_SET_CONFIG, 12 + 64, 0 },
	{ VHOST_USER_RESET_DEVICE, 0, 0 },
	{ MEMLEASE_VHOST_SET_UFFD, 72, 1 },
};

/* A payload that is likely to be accepted, so that the next message finds something. */
static void sensible_payload(struct guest *g, uint32_t request, uint8_t *p, int *fds)
{
	uint32_t words[2] = { (uint32_t)below(2), 1 };
	struct rig_table t;
	uint64_t v;

	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
		guest_table(g, &t, fds);
		memcpy(p, &t, 8 + 4 * 32);
		return;
	case VHOST_USER_SET_FEATURES:
		v = RIG_FEATURES | below(2) << VIRTIO_RING_F_EVENT_IDX;
		memcpy(p, &v, 8);
		return;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		v = 0x2228;
		memcpy(p, &v, 8);
		return;
	case VHOST_USER_SET_VRING_ADDR:
		v = below(2);
		memcpy(p, &v, 8);
		v = (uintptr_t)at(g, RIG_RING_GPA(v));
		memcpy(p + 8, &v, 8);
		v += RIG_USED;
		memcpy(p + 16, &v, 8);
		v += RIG_AVAIL - RIG_USED;
		memcpy(p + 24, &v, 8);
		return;
	case VHOST_USER_SET_VRING_NUM:
		words[1] = 1u << below(9);
		break;
	case VHOST_USER_SET_VRING_BASE:
		words[1] = (uint32_t)below(4);
		break;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		words[1] = 0;
		fds[0] = below(2) ? g->kick[below(2)] : g->call[below(2)];
		break;
	case VHOST_USER_GET_CONFIG:
		words[0] = 0;
		words[1] = 64;
		break;
	}
	memcpy(p, words, sizeof(words));
}

static void random_message(struct guest *g)
{
	int pipe_fds[2], fds[12];
	uint8_t bytes[12 + 600] = { 0 };
	struct message_header h = { 0, MESSAGE_VERSION, 0 };
	unsigned int k = (unsigned int)below(sizeof(known) / sizeof(*known));
	int count = known[k].fds, pair[2];
	size_t send;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	h.request = chance(99) ? known[k].request : (uint32_t)below(50);
	h.size = chance(99) ? known[k].size : (uint32_t)below(700);
	h.flags |= chance(50) ? MESSAGE_NEED_REPLY : 0;
	h.flags ^= chance(1) ? 1u << below(32) : 0;
	if (chance(1))
		count = (int)below(12);
	for (int i = 0; i < 12; i++) {
		const int kinds[] = { g->boot_fd, g->window_fd, g->kick[0], g->call[1], pair[0],
				      pipe_fds[0] };

		fds[i] = h.request == VHOST_USER_SET_BACKEND_REQ_FD ? pair[1] : kinds[below(6)];
	}
	if (chance(90)) {
		sensible_payload(g, h.request, bytes + 12, fds);
	} else {
		for (int i = 0; i < 75; i++) {
			uint64_t v = some_number(g);

			memcpy(bytes + 12 + 8 * i, &v, 8);
		}
	}
	memcpy(bytes, &h, sizeof(h));
	send = 12 + (h.size < 600 ? h.size : 600);
	if (chance(1))
		send = below(send) + 1;
	send_raw(g->fd, bytes, send, fds, (unsigned int)count);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(pipe_fds[i]);
	}
}

static void reconnect(struct guest *g)
{
	struct vm_status s = { 0 };

	guest_disconnect(g);
	/* A socket that is called too often has its rate limited; go on with the rest meanwhile. */
	guest_connect_only(g);
	for (int i = 0; i < 3000 && s.state != VM_RUNNING; i++) {
		sd_event_run(g->rig->event, 1000);
		lend_vm_status(g->vm, &s);
	}
	assert_int_equal(s.state, VM_RUNNING);
}

static void scribble(struct guest *g);

static void random_messages_run(uint64_t seed, uint64_t steps)
{
	struct rig *r = rig_new(256);
	struct guest *g = guest_new(r, "bad"), *good = guest_new(r, "good");

	rng_state = seed;
	for (uint64_t i = 0; i < steps; i++) {
		char drain[512];

		random_message(g);
		if (chance(20))
			scribble(g);
		if (chance(30))
			kick(g, (unsigned int)below(2));
		if (chance(50))
			rig_spin(r);
		if (i % CHECK_EVERY == 0)
			assert_good_goes_on(r, good);
		ssize_t n;

		while ((n = recv(g->fd, drain, sizeof(drain), MSG_DONTWAIT)) > 0)
			;
		if (n == 0 || (n < 0 && errno != EAGAIN))
			reconnect(g);
	}
	assert_good_goes_on(r, good);
	guest_free(g);
	guest_free(good);
	rig_free(r);
}

/* --- rings ---------------------------------------------------------------------- */

static uint64_t some_gpa(void)
{
	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return RIG_WINDOW_GPA + below(RIG_WINDOW * BLOCK);
	case 2:
		return 0x9f000 + below(0x22000);
	case 3:
		return RIG_TABLE_GPA + below(64) * 16;
	case 4:
		return 4 * GIB + below(12 * BLOCK);
	default:
		return RIG_BUFFER_GPA + below(256) * 16;
	}
}

static void some_desc(struct vring_desc *d, unsigned int size)
{
	d->addr = htole64(some_gpa());
	d->len = htole32(chance(90) ? (uint32_t)(16 << below(4)) : (uint32_t)rnd());
	d->flags = htole16((uint16_t)(chance(97) ? below(4) : below(16)));
	d->next = htole16((uint16_t)(chance(97) ? below(size) : rnd()));
}

static void some_request(uint8_t *p)
{
	struct rig_request r = { 0 };
	uint16_t count = (uint16_t)(1 + below(3));

	r.head.type = htole16((uint16_t)(chance(97) ? 1 + below(5) : rnd()));
	r.head.count = htole16(chance(97) ? count : (uint16_t)rnd());
	for (int i = 0; i < 3; i++)
		r.e[i] = (struct memlease_extent){
			htole32((uint32_t)(chance(97) ? below(2) : rnd())),
			htole32((uint32_t)(chance(95) ? 1 + below(4) : rnd())),
			htole64(chance(60) ? below(40) : chance(80) ? RIG_HIGH_SLOT + below(12)
								    : rnd()),
		};
	memcpy(p, &r, 64);
}

/* Half-sensible bytes into queue 0 or 1, its table, and its buffers. */
static void scribble(struct guest *g)
{
	unsigned int q = chance(80) ? 0 : 1;

	for (int i = 0; i < 4; i++) {
		unsigned int k = (unsigned int)below(RIG_NUM);

		some_desc(desc_of(g, q, k), RIG_NUM);
		some_desc((struct vring_desc *)(void *)at(g, RIG_TABLE_GPA) + below(64), 8);
		some_request(at(g, RIG_BUFFER_GPA + below(64) * 64));
		if (chance(70)) {
			/* A whole request, so that the inner checks are reached. */
			uint64_t gpa = RIG_BUFFER_GPA + below(64) * 64;
			uint32_t count;

			some_request(at(g, gpa));
			count = le16toh(((struct memlease_request *)(void *)at(g, gpa))->count) & 3;
			if (le16toh(*(uint16_t *)(void *)at(g, gpa)) == MEMLEASE_REQ_QUERY)
				count = 0;	/* nothing follows it */
			set_desc(g, q, k, gpa, 16 + count * 16, VRING_DESC_F_NEXT,
				 (uint16_t)((k + 1) % RIG_NUM));
			set_desc(g, q, (k + 1) % RIG_NUM, RIG_BUFFER_GPA + 0x10000, 64,
				 VRING_DESC_F_WRITE, 0);
		}
		offer(g, q, (uint16_t)(chance(99) ? k : rnd()));
	}
	if (chance(2))
		*avail_word(g, q, 1) = htole16((uint16_t)rnd());
	if (chance(5))
		*avail_word(g, q, 0) = htole16((uint16_t)rnd());
}

static void start_over(struct guest *g)
{
	guest_stop(g, NULL);
	assert_true(send_msg(g, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	rig_spin(g->rig);
	touch_rings(g);
	memset(at(g, BLOCK), 0, BLOCK);
	memset(g->avail, 0, sizeof(g->avail));
	memset(g->seen, 0, sizeof(g->seen));
	guest_start(g, RIG_FEATURES | below(2) << VIRTIO_RING_F_EVENT_IDX);
}

static void random_rings_run(uint64_t seed, uint64_t steps)
{
	struct rig *r = rig_new(256);
	struct guest *g = guest_new(r, "bad"), *good = guest_new(r, "good");
	int breaks = 0;

	rng_state = seed;
	for (uint64_t i = 0; i < steps; i++) {
		scribble(g);
		if (chance(10))
			lend_report_now(g->vm);
		if (chance(5))
			vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_RETIRED,
					     (uint32_t)below(2), below(RIG_BOOT), 1);
		kick(g, 0);
		kick(g, 1);
		rig_spin(r);
		if (i % CHECK_EVERY == 0)
			assert_good_goes_on(r, good);
		if (broken_reason(g)) {
			breaks++;
			start_over(g);
			assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_NOT);
		}
	}
	/* Chance must have reached both sides of the checks. */
	assert_true(breaks > 10);
	assert_good_goes_on(r, good);
	guest_free(g);
	guest_free(good);
	rig_free(r);
}

static void run_seeds(void (*run)(uint64_t seed, uint64_t steps), uint64_t otherwise,
		      const char *what)
{
	uint64_t steps = env_number("MEMLEASE_TEST_STEPS", otherwise);
	uint64_t only = env_number("MEMLEASE_TEST_SEED", 0);

	for (uint64_t i = 1; i <= SEEDS; i++) {
		uint64_t seed = only ? only : i * 0x9e3779b97f4a7c15ULL;

		print_message("%s: MEMLEASE_TEST_SEED=0x%llx\n", what, (unsigned long long)seed);
		run(seed, steps);
		if (only)
			return;
	}
}

static void random_messages(void **state)
{
	(void)state;
	/* Each connection that is cut off waits for the socket's rate limit. */
	run_seeds(random_messages_run, MESSAGE_STEPS, "messages");
}

static void random_rings(void **state)
{
	(void)state;
	run_seeds(random_rings_run, RING_STEPS, "rings");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_messages),
		cmocka_unit_test(random_rings),
	};

	return cmocka_run_group_tests_name("vhost_random", tests, NULL, NULL);
}
