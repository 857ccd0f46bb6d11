// SPDX-License-Identifier: GPL-2.0-or-later
/* A child that is left with what nobody wants; see leave.h. */
#include "leave.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Wait until the parent has closed all, which it says by closing the gate, or by ending. */
static void hold_until_closed(const int gate[2])
{
	char byte;

	close(gate[1]);
	while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

pid_t ml_leave_to_child(const int *fds, size_t count)
{
	int gate[2];
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		pid = -errno;
	if (pid == 0)
		hold_until_closed(gate);
	close(gate[0]);
	for (size_t i = 0; pid > 0 && i < count; i++)
		close(fds[i]);
	close(gate[1]);
	return pid;
}
