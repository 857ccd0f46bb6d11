// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target for host/vhost/: the input is a sequence of steps, each of which
 * sends bytes to the socket, writes bytes into the rings or buffers in boot
 * memory, or kicks. A crash, a hang or a broken invariant of the lender is a finding.
 */
#include "../unit/test_vhost_rig.h"
#include "../unit/porter_direct.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig *rig;
static struct guest *guest;
static unsigned int inputs;

static void begin(void)
{
	rig = rig_new(64);
	guest = guest_new(rig, "fuzzed");
}

static void end(void)
{
	lender_validate(rig->lender);
	guest_free(guest);
	rig_free(rig);
}

/* Where a step of the kind writes. */
static uint64_t place(uint8_t kind)
{
	switch (kind & 7) {
	case 1:
		return RIG_RING_GPA(0) + RIG_DESC;
	case 2:
		return RIG_RING_GPA(0) + RIG_AVAIL;
	case 3:
		return RIG_RING_GPA(1);
	case 4:
		return RIG_TABLE_GPA;
	default:
		return RIG_BUFFER_GPA;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A VM for some inputs, not for each: making one is most of the time. */
	if (inputs++ % 64 == 0)
		begin();
	while (size >= 2) {
		uint8_t kind = data[0];
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		if (kind & 8)
			send_raw(guest->fd, data + 2, len, &guest->boot_fd, kind >> 7);
		else
			memcpy(at(guest, place(kind)), data + 2, len);
		kick(guest, kind >> 6 & 1);
		rig_spin(rig);
		data += 2 + len;
		size -= 2 + len;
	}
	if (connection_closed(guest)) {
		end();
		begin();
	}
	if (inputs % 64 == 0)
		end();
	return 0;
}
