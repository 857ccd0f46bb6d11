// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-poison BASE BYTES mce|page: memory errors that the kernel reports, not the
 * daemon: machine checks that mce-inject makes up (mce), or pages that are declared
 * broken through sysfs, of which 7.2 and later tell the processes that map them (page).
 */
#include "pool.h"

#include <sys/prctl.h>

#define SLOTS 8
#define INJECT "/sys/kernel/debug/mce-inject/"
#define OFFLINE "/sys/devices/system/memory/hard_offline_page"

/* Of a machine check, as AMD's processors before Zen reported memory: bank 4, extended code 8. */
#define STATUS ((1ULL << 63) | (1ULL << 61) | (1ULL << 60) | (1ULL << 58) | (1ULL << 43) | (8ULL << 16))
#define BANK "4"
#define KEY (1ULL << 51)

static uint64_t base;
static volatile int told_code;		/* of a SIGBUS that comes for a page, not an access */
static void *volatile told_address;

static void on_told(int signal, siginfo_t *info, void *context)
{
	if (lab_bus_armed) {
		lab_on_bus(signal, info, context);
	} else {
		told_code = info->si_code;
		told_address = info->si_addr;
	}
}

static void put(const char *path, const char *format, ...)
{
	char text[64];
	va_list args;
	int fd = open(path, O_WRONLY);

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (fd < 0 || (write(fd, text, strlen(text)) < 0 && strcmp(path, OFFLINE)))
		lab_die("%s: %s", path, text);
	close(fd);
}

static void break_at(const char *how, uint64_t address)
{
	pid_t pid;

	if (!strcmp(how, "mce")) {
		put(INJECT "flags", "sw\n");
		put(INJECT "cpu", "0");
		put(INJECT "status", "%#llx", STATUS);
		put(INJECT "addr", "%#llx", address);
		put(INJECT "bank", BANK);
		return;
	}
	/* Done by another process, for the one that does it is sent the worse of two signals. */
	pid = fork();
	if (!pid) {
		put(OFFLINE, "%#llx", address);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_told, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct memlease_pool_info info;
	struct memlease_touch t = {};
	uint32_t window;
	uint64_t value;
	char *mem;
	int fd;

	if (argc != 4)
		lab_die("usage: pool-poison BASE BYTES mce|page");
	base = strtoull(argv[1], NULL, 0);
	sigaction(SIGBUS, &action, NULL);
	/* As QEMU asks for it. */
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	lab_open();
	lab_claim(base, strtoull(argv[2], NULL, 0));
	window = lab_create("poison", SLOTS);
	fd = lab_open_window("poison");
	mem = lab_map_window(fd, SLOTS);
	lab_commit(window, 0, SLOTS);
	lab_map(window, 3, 9);
	ok(!lab_write(mem + 3 * LAB_BLOCK, 1), "a slot is in use");
	break_at(argv[3], base + 9 * LAB_BLOCK + 0x5000);
	ok(lab_await(MEMLEASE_TOUCH_ERROR, &t) && t.window == window && t.slot == 3 && t.block == 9,
	   "that its memory broke is told");
	ok(lab_slot(window, 3) == MEMLEASE_SLOT_LOST, "the slot is lost");
	ok(lab_read(mem + 3 * LAB_BLOCK, &value) == SIGBUS && lab_bus_code == BUS_MCEERR_AR, "and cannot be read");
	if (!strcmp(argv[3], "page"))
		ok(told_code == BUS_MCEERR_AO && told_address == mem + 3 * LAB_BLOCK + 0x5000,
		   "the process is told by a signal, with the address (%d, %p)", told_code, told_address);
	told_code = 0;
	/* Of an encrypted machine the address comes with the key, in bits that are above all addresses. */
	break_at(argv[3], base + 20 * LAB_BLOCK + 0x1ff000 + (strcmp(argv[3], "mce") ? 0 : KEY));
	ok(lab_await(MEMLEASE_TOUCH_ERROR, &t) && !t.window && t.block == 20, "a block behind no slot breaks");
	ok(!told_code, "and no process has to know");
	if (!strcmp(argv[3], "mce"))	/* what Linux would do with a page of its own is not tested */
		break_at(argv[3], base - LAB_BLOCK * 512);
	lab_nap(200);
	ok(!lab_touch(&t) && !call(MEMLEASE_POOL_INFO, &info) && info.retired == 2, "what breaks elsewhere is not ours");
	munmap(mem, SLOTS * LAB_BLOCK);
	close(fd);
	is(lab_remove(window, SLOTS), 0, "the window goes");
	return lab_failures ? 1 : 0;
}
