// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is this host's kernel set up so that memory without page structures is safe to lend,
 * and mapped by huge entries? Called once by daemon/, at start; reads a few files of
 * sysfs and changes nothing. See reserved.h.
 */
#include "reserved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"

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

static void warn_nested(int sys, const char *release, const char *module)
{
	char path[64];

	snprintf(path, sizeof(path), "module/%s/parameters/nested", module);
	if (is_on(sys, path))
		ml_warn("%s.nested is on, and Linux %s is older than 6.13: a guest that runs guests of its own can reach blocks that were taken from it; put 'options %s nested=0' into /etc/modprobe.d/memlease.conf and load the module anew, or give no VM the CPU features vmx and svm (memlease run does not)",
			module, release, module);
}

int reserved_host_check(const char *sys_dir, const char *release)
{
	ml_autoclose int sys = open(sys_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char huge[64];

	if (sys < 0)
		return 0;	/* no sysfs: no KVM that could be set wrongly */
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
		warn_nested(sys, release, "kvm_intel");
		warn_nested(sys, release, "kvm_amd");
	}
	if (older(release, FREE_HUGE_MAJOR, FREE_HUGE_MINOR) &&
	    ml_read_line(sys, "kernel/mm/transparent_hugepage/enabled", huge, sizeof(huge)) > 0 &&
	    strstr(huge, "[never]"))
		ml_warn("/sys/kernel/mm/transparent_hugepage/enabled is 'never': VMs' memory is mapped by pages of 4 KiB, which is slow to touch and costs page tables; write 'madvise' into it (at boot: transparent_hugepage=madvise)");
	return 0;
}
