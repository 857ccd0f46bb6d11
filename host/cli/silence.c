// SPDX-License-Identifier: GPL-2.0-or-later
/* Why no answer is to be had of a VM; see silence.h. */
#include "silence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/file.h"
#include "json.h"
#include "qmp.h"

#define MONITOR_TIMEOUT_MS 1000

/* What QEMU calls its states (RunState), and what they are. */
static const struct {
	const char *status, *text;
} halts[] = {
	{ "paused", "its QEMU is paused; 'cont' in QEMU's monitor lets it go on" },
	{ "prelaunch", "its QEMU was started paused (-S); 'cont' in QEMU's monitor starts the guest" },
	{ "suspended", "its guest sleeps (suspended to RAM); 'system_wakeup' in QEMU's monitor wakes it" },
	{ "guest-panicked", "the kernel of its guest has panicked" },
	{ "shutdown", "its guest has shut down, and QEMU stays" },
	{ "io-error", "its QEMU has paused it: a disk has failed, see QEMU's log" },
	{ "internal-error", "its QEMU has stopped it after an error of its own, see QEMU's log" },
	{ "watchdog", "its QEMU has paused it: the guest's watchdog ran out" },
	{ "debug", "a debugger has stopped it" },
};

/* Is the process stopped, as by SIGSTOP? The state stands behind the command, which may hold anything. */
static bool process_stopped(uint64_t pid)
{
	char path[40], line[1024];
	const char *end;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
	if (!pid || ml_read_line(AT_FDCWD, path, line, sizeof(line)) < 0)
		return false;
	end = strrchr(line, ')');
	return end && (!strncmp(end, ") T", 3) || !strncmp(end, ") t", 3));
}

static void explain(const char *status, char text[VIEW_TEXT_MAX])
{
	for (size_t i = 0; i < sizeof(halts) / sizeof(halts[0]); i++)
		if (!strcmp(status, halts[i].status))
			snprintf(text, VIEW_TEXT_MAX, "%s", halts[i].text);
}

const char *vm_halted(const struct vm_view *vm, char text[VIEW_TEXT_MAX])
{
	auto_qmp struct qmp *qmp = NULL;
	auto_json json_t *state = NULL;
	struct ml_why why;
	int err;

	text[0] = '\0';
	if (process_stopped(vm->pid)) {
		snprintf(text, VIEW_TEXT_MAX, "its QEMU was stopped by a signal; 'kill -CONT %" PRIu64 "' lets it go on",
			 vm->pid);
		return text;
	}
	err = qmp_open(vm->qmp_socket, MONITOR_TIMEOUT_MS, &qmp, &why);
	if (!err)
		err = qmp_call(qmp, "query-status", NULL, MONITOR_TIMEOUT_MS, &state);
	if (err == -ETIMEDOUT)
		snprintf(text, VIEW_TEXT_MAX, "its QEMU hangs, or somebody else uses its monitor");
	else if (!err)
		explain(json_string_value(json_object_get(state, "status")) ?: "", text);
	return text;
}

const char *vm_silence(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX])
{
	char halted[VIEW_TEXT_MAX];

	/* What is known for certain needs no asking, and a QEMU whose touch waits may not answer. */
	if (!vm_unheard(vm, now_ms, text)[0] || vm->waiting_touches || !strcmp(vm->state, "defined"))
		return text;
	if (vm_halted(vm, halted)[0])
		snprintf(text, VIEW_TEXT_MAX, "%s", halted);
	return text;
}
