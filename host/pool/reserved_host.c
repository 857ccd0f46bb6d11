// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is this host's kernel set up so that memory without page structures is safe to lend,
 * and mapped by huge entries? Called once by daemon/, at start; reads a few files of
 * sysfs and procfs and changes nothing. See reserved_host.h.
 */
#include "reserved_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"
#include "backend.h"

/* KVM no longer keeps pages mapped that it is not told of when they go. */
#define SAFE_NESTED_MAJOR 6
#define SAFE_NESTED_MINOR 13
/* Huge entries for memory without pages, whatever transparent_hugepage/enabled says. */
#define FREE_HUGE_MAJOR 7
#define FREE_HUGE_MINOR 2

static bool older(const char *release, unsigned int major, unsigned int minor)
{
	unsigned int is_major, is_minor;

	if (sscanf(release, "%u.%u", &is_major, &is_minor) != 2)
		return false;
	return is_major < major || (is_major == major && is_minor < minor);
}

/* A parameter that is on: "Y", or "1" and more. */
static bool is_on(int sys, const char *path)
{
	char text[16];

	if (ml_read_line(sys, path, text, sizeof(text)) < 0)
		return false;
	return text[0] == 'Y' || text[0] == 'y' || (text[0] >= '1' && text[0] <= '9');
}

/*
 * No word of an operator's makes this safe: that no VM is to have vmx or svm is told to QEMU,
 * and a QEMU that a guest has taken over gives its vCPUs what KVM has.
 */
static int refuse_nested(int sys, const char *release, const char *module)
{
	char path[64];

	snprintf(path, sizeof(path), "module/%s/parameters/nested", module);
	if (!is_on(sys, path))
		return 0;
	ml_err("%s.nested is on, and Linux %s is older than 6.13: a guest that runs guests of its own could reach blocks that were taken from it; put 'options %s nested=0' into /etc/modprobe.d/memlease.conf and load %s anew, or boot Linux 6.13 or later",
	       module, release, module, module);
	return -EPERM;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || strchr(" \t\n", p[-1])) && strchr(" \t\n", p[len]))
			return true;
	return false;
}

/* Is flag one of the first processor's? Of all others too, or Linux does not show it. */
static bool cpu_has(int proc, const char *flag)
{
	ml_autofclose FILE *f = NULL;
	char line[8192];
	int fd = openat(proc, "cpuinfo", O_RDONLY | O_CLOEXEC);

	f = fd < 0 ? NULL : fdopen(fd, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "flags", 5))
			return has_word(line, flag);
	return false;
}

/* Is SME asked for? Linux 6.9 and later use it for nothing else than this word, the last one counting. */
static bool asks_for_sme(int proc)
{
	static const char key[] = "mem_encrypt=";
	char text[8192];
	bool on = false;

	if (ml_read_line(proc, "cmdline", text, sizeof(text)) < 0)
		return false;
	for (const char *p = text; (p = strstr(p, key)); p++)
		if (p == text || p[-1] == ' ')
			on = !strncmp(p + strlen(key), "on", 2) && strchr(" ", p[strlen(key) + 2]);
	return on;
}

/*
 * Where Linux encrypts memory by page (SME), or is itself a confidential guest (SEV, TDX), the
 * module's, the daemon's and KVM's mappings of a block that Linux does not count as memory need
 * not be of one kind: one would read what another wrote as noise. The module refuses to load
 * there (it alone can be sure); here are words for the operator. What firmware encrypts for all
 * (TSME, TME) does not concern us, and shows neither.
 */
static int refuse_encrypted(int sys, int proc)
{
	if (cpu_has(proc, "sme") && asks_for_sme(proc)) {
		ml_err("this host encrypts memory (SME, mem_encrypt=on): blocks that Linux does not know would be read as noise; take mem_encrypt=on from the kernel's command line and reboot (encryption by the firmware for all memory, TSME, may stay on)");
		return -EPERM;
	}
	if (cpu_has(proc, "tdx_guest") || faccessat(sys, "devices/system/cpu/sev", F_OK, 0) == 0) {
		ml_err("this host is a confidential VM (%s): memory that it does not know of is not its own; use another host, or --pool SIZE",
		       cpu_has(proc, "tdx_guest") ? "TDX" : "SEV");
		return -EPERM;
	}
	return 0;
}

static int check_kvm(int sys, const char *release)
{
	int ret = 0;

	if (is_on(sys, "module/kvm/parameters/allow_unsafe_mappings")) {
		ml_err("kvm.allow_unsafe_mappings is on: KVM would go on using blocks that were taken from a VM; take the option away (kernel command line, /etc/modprobe.d), and load kvm anew or reboot");
		return -EPERM;
	}
	if (backend_file_kernel_unsafe(release) && faccessat(sys, "module/kvm", F_OK, 0) == 0) {
		ml_err("host kernel %s: kernels 7.0 to 7.1.8 flush wrongly when a block is taken away under KVM (CVE-2026-74674); boot 7.1.9 or later",
		       release);
		return -EPERM;
	}
	if (older(release, SAFE_NESTED_MAJOR, SAFE_NESTED_MINOR)) {
		ret = refuse_nested(sys, release, "kvm_intel");
		if (!ret)
			ret = refuse_nested(sys, release, "kvm_amd");
	}
	return ret;
}

int reserved_host_check(const char *sys_dir, const char *proc_dir, const char *release)
{
	ml_autoclose int sys = open(sys_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ml_autoclose int proc = open(proc_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char huge[64];
	int ret;

	if (sys < 0 || proc < 0) {
		ml_err("%s: %m; whether this host's KVM is safe to lend to cannot be seen: mount it",
		       sys < 0 ? sys_dir : proc_dir);
		return -EPERM;
	}
	ret = check_kvm(sys, release);
	if (!ret)
		ret = refuse_encrypted(sys, proc);
	if (ret)
		return ret;
	if (older(release, FREE_HUGE_MAJOR, FREE_HUGE_MINOR) &&
	    ml_read_line(sys, "kernel/mm/transparent_hugepage/enabled", huge, sizeof(huge)) > 0 &&
	    strstr(huge, "[never]"))
		ml_warn("/sys/kernel/mm/transparent_hugepage/enabled is 'never': VMs' memory is mapped by pages of 4 KiB, which is slow to touch and costs page tables; write 'madvise' into it (at boot: transparent_hugepage=madvise)");
	return 0;
}
