// SPDX-License-Identifier: GPL-2.0-or-later
/* The handler of SIGBUS and the guards it honours; see bus.h. */
#include "bus.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static __thread sigjmp_buf *volatile guard;
static struct sigaction before;

static void bus_error(int sig, siginfo_t *info, void *context)
{
	sigjmp_buf *env = guard;

	if (env) {
		guard = NULL;
		siglongjmp(*env, 1);
	}
	/*
	 * No guard of this thread: pass the signal to the handler that stood before. Where there
	 * was none, the fault repeats under the default action, which ends the process.
	 */
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		signal(SIGBUS, SIG_DFL);
	}
}

int ml_bus_init(void)
{
	/* SA_NODEFER: the handler leaves by siglongjmp, which restores no mask. */
	struct sigaction action = {
		.sa_sigaction = bus_error,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == bus_error)
		return 0;
	before = now;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

void ml_bus_guard(sigjmp_buf *env)
{
	guard = env;
}
