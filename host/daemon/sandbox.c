// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * User, capabilities, system-call filter. Called by main.c once each; what is
 * given up here cannot be had back.
 */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/memlease_ioctl.h"
#include "../base/log.h"
#include "syscalls.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool has_cap(cap_value_t cap, cap_flag_t set)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t caps = cap_get_proc();

	if (caps) {
		cap_get_flag(caps, cap, set, &value);
		cap_free(caps);
	}
	return value == CAP_SET;
}

static int become(const struct config *config)
{
	/* Capabilities outlive the change of user until keep_only_kill(). */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || initgroups(config->user, config->gid) ||
	    setresgid(config->gid, config->gid, config->gid) ||
	    setresuid(config->uid, config->uid, config->uid))
		return -errno;
	return 0;
}

static int keep_only_kill(bool has_kill)
{
	static const cap_value_t kept[] = { CAP_KILL };
	cap_t caps = cap_init();
	int ret = 0;

	if (!caps)
		return -ENOMEM;
	if (has_kill && (cap_set_flag(caps, CAP_PERMITTED, 1, kept, CAP_SET) ||
			 cap_set_flag(caps, CAP_EFFECTIVE, 1, kept, CAP_SET)))
		ret = -errno;
	if (!ret && cap_set_proc(caps))
		ret = -errno;
	cap_free(caps);
	return ret;
}

int sandbox_drop(const struct config *config)
{
	/* A QEMU that touches a vacant slot is killed; it may run as another user (its -runas). */
	bool has_kill = has_cap(CAP_KILL, CAP_PERMITTED);
	cap_value_t cap;
	int ret = 0;

	if (has_cap(CAP_SETPCAP, CAP_EFFECTIVE)) {
		for (cap = 0; cap <= CAP_LAST_CAP; cap++) {
			if (cap != CAP_KILL && cap_get_bound(cap) == 1 && cap_drop_bound(cap))
				ret = -errno;
		}
	}
	if (!ret && config->has_user)
		ret = become(config);
	if (!ret)
		ret = keep_only_kill(has_kill);
	if (!ret && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		ret = -errno;
	if (ret)
		ml_err("cannot give up privileges: %s; start as root or as the user itself",
		       strerror(-ret));
	return ret;
}

static int allow(scmp_filter_ctx ctx, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	/* Newer than the library, or not of this architecture. */
	if (number == __NR_SCMP_ERROR || number < 0)
		return 0;
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number, 0);
}

static int allow_plain(scmp_filter_ctx ctx)
{
	static const char *const names[] = {
		SYSCALLS_LOOP, SYSCALLS_MEMORY, SYSCALLS_FILES, SYSCALLS_SOCKETS, SYSCALLS_PROCESS,
	};
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < COUNT(names); i++)
		ret = allow(ctx, names[i]);
	return ret;
}

static int allow_ioctl(scmp_filter_ctx ctx)
{
	static const unsigned long requests[] = {
		UFFDIO_API, UFFDIO_WAKE, UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_CONTINUE,
		UFFDIO_REGISTER, UFFDIO_UNREGISTER,
		FIONREAD, FIONBIO, TCGETS,	/* the last by stdio, for isatty() */
		/* The host module. Ranges are claimed before. */
		MEMLEASE_POOL_INFO, MEMLEASE_POOL_CREATE, MEMLEASE_POOL_WINDOW,
		MEMLEASE_POOL_DESTROY, MEMLEASE_POOL_COMMIT, MEMLEASE_POOL_UNMAP,
		MEMLEASE_POOL_MAP, MEMLEASE_POOL_MOVE, MEMLEASE_POOL_SLOTS,
		MEMLEASE_POOL_SUPPLIED, MEMLEASE_POOL_RETIRE, MEMLEASE_POOL_BLOCKS,
	};
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < COUNT(requests); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu,
					       (scmp_datum_t)(requests[i] & 0xffffffffu)));
	return ret;
}

static const int mapping_calls[] = {
	SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect),
};

/*
 * What fails in the ordinary course of things, so that nobody need hear of it: clone3 hides its
 * flags, and glibc falls back to clone; memory that can be executed the loader may try.
 */
static int refuse_quietly(scmp_filter_ctx ctx)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	for (size_t i = 0; !ret && i < COUNT(mapping_calls); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), mapping_calls[i], 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	return ret;
}

/* A new thread, never a process. What refuse_quietly() refuses is refused whatever stands here. */
static int allow_threads(scmp_filter_ctx ctx)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone3), 0);
	for (size_t i = 0; !ret && i < COUNT(mapping_calls); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, mapping_calls[i], 0);
	return ret;
}

/* A QEMU is killed through its pidfd or asked whether it lives; abort() signals ourselves. */
static int allow_signals(scmp_filter_ctx ctx)
{
	static const int to_qemu[] = { 0, SIGKILL };
	size_t i;
	int ret;

	ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	for (i = 0; !ret && i < COUNT(to_qemu); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(pidfd_send_signal), 1,
				       SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)to_qemu[i], 0));
	return ret;
}

static int allow_with_conditions(scmp_filter_ctx ctx)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				   SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));

	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				       SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	/* A new thread gives up what the event loop's has of priority. */
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setpriority), 3,
				       SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS, 0),
				       SCMP_A1(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0));
	/* Zeroing goes to idle priority, and comes back while somebody waits. */
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler), 1,
				       SCMP_A1(SCMP_CMP_EQ, SCHED_IDLE, 0));
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler), 1,
				       SCMP_A1(SCMP_CMP_EQ, SCHED_OTHER, 0));
	if (!ret)
		ret = allow_ioctl(ctx);
	if (!ret)
		ret = allow_threads(ctx);
	return ret ? ret : allow_signals(ctx);
}

/* A sanitizer prints reports and looks for leaks by means that nobody else needs. */
static int allow_sanitizer(scmp_filter_ctx ctx)
{
#ifdef __SANITIZE_ADDRESS__
	static const int calls[] = {
		SCMP_SYS(ptrace), SCMP_SYS(clone), SCMP_SYS(wait4), SCMP_SYS(prctl), SCMP_SYS(process_vm_readv),
		SCMP_SYS(arch_prctl), SCMP_SYS(kill), SCMP_SYS(personality),
	};
	size_t i;

	for (i = 0; i < COUNT(calls); i++) {
		int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);

		if (ret)
			return ret;
	}
#else
	(void)ctx;
#endif
	return 0;
}

/* What a call outside the list comes to. */
static uint32_t action_of(enum config_sandbox mode)
{
	return mode == SANDBOX_LOG ? SCMP_ACT_LOG :
	       mode == SANDBOX_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS);
}

/* The rules of `add`, and otherwise `action`; for all threads at once: the ledger's is there already. */
static int load(uint32_t action, bool audited, int (*add)(scmp_filter_ctx ctx))
{
	scmp_filter_ctx ctx = seccomp_init(action);
	int ret;

	if (!ctx)
		return -ENOMEM;
	ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!ret && audited)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	if (!ret)
		ret = add(ctx);
	if (!ret)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	return ret;
}

static int add_list(scmp_filter_ctx ctx)
{
	int ret = allow_plain(ctx);

	if (!ret)
		ret = allow_with_conditions(ctx);
	return ret ? ret : allow_sanitizer(ctx);
}

/*
 * Two filters, of which the stricter answer counts: the kernel's audit has a line for what the
 * second forbids, and none for what the first refuses. That a call outside the list fails with
 * ENOSYS, rather than end the daemon, is for the day when the C library is upgraded: it tries a
 * newer call, and goes on with an older one where there is none. By an errno, and not by a
 * signal, because the library blocks all signals where it makes threads.
 */
int sandbox_filter(const struct config *config)
{
	int ret;

	if (config->sandbox == SANDBOX_OFF) {
		ml_warn("system calls are not filtered (--sandbox off)");
		return 0;
	}
	ret = load(SCMP_ACT_ALLOW, false, refuse_quietly);
	if (!ret)
		ret = load(action_of(config->sandbox), true, add_list);
	if (ret)
		ml_err("cannot filter system calls: %s; --sandbox off runs without", strerror(-ret));
	return ret;
}
