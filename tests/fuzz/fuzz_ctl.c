// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target for host/ctl/: the input is what a client sends to the control socket. Its
 * first byte says whether the client negotiates first, and where the rest is cut in two.
 * A crash, a hang or a broken invariant of the lender is a finding.
 */
#include "../unit/test_vhost_rig.h"

#include "../../host/ctl/ctl.h"
#include "../../host/ctl/sockets.h"

#define INPUTS_PER_DAEMON 128	/* what they have made stays meanwhile */
#define NEGOTIATE "{\"execute\": \"qmp_capabilities\"}\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig *rig;
static struct ctl_server *server;
static struct plans *plans;
static char path[120];
static unsigned int inputs;

static void begin(void)
{
	struct ml_why why = { "" };

	rig = rig_new(64);
	assert_int_equal(plans_load(NULL, &plans, &why), 0);
	snprintf(path, sizeof(path), "%s/control.sock", rig->dir);
	int fd = ctl_listen(path, getuid(), getgid());
	assert_true(fd >= 0);
	const struct ctl_config config = {
		.event = rig->event, .lender = rig->lender, .vhost = rig->server, .plans = plans,
		.clock = &ml_clock_real, .state_dir = rig->state_dir, .pool_dir = rig->pool_dir,
		.ledger_path = rig->ledger, .vm_dir = rig->dir,
	};
	assert_int_equal(ctl_new(&server, &config, fd), 0);
}

static void end(void)
{
	ctl_free(server);
	rig_free(rig);
	plans_free(plans);
}

/* What the server has to say goes nowhere. */
static void listen_to(int fd)
{
	char bytes[65536];

	do {
		rig_spin(rig);
	} while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
}

static void say(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		listen_to(fd);
		if (n < 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t cut;

	if (size == 0)
		return 0;
	/* A daemon for some inputs, not for each: making one is most of the time. */
	if (inputs++ % INPUTS_PER_DAEMON == 0)
		begin();
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (!(data[0] & 1))
		say(fd, (const uint8_t *)NEGOTIATE, strlen(NEGOTIATE));
	cut = (size - 1) * (data[0] >> 1) / 128;
	say(fd, data + 1, cut);
	say(fd, data + 1 + cut, size - 1 - cut);
	lender_validate(rig->lender);
	close(fd);
	rig_spin(rig);
	if (inputs % INPUTS_PER_DAEMON == 0)
		end();
	return 0;
}
