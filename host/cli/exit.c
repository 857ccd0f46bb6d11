// SPDX-License-Identifier: GPL-2.0-or-later
/* Complaints; see exit.h. */
#include "exit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *cli_verb = "";

/* The first error of writing. */
static int output_error;

int cli_flush(void)
{
	errno = 0;
	if (fflush(stdout) && !output_error)
		output_error = errno;
	return -output_error;
}

int cli_close_output(int status)
{
	bool lost = ferror(stdout);
	int err = -cli_flush();

	/* One that was closed from the start lost nothing if nothing was printed. */
	if (fclose(stdout) && !err && errno != EBADF)
		err = errno;
	if (!lost && !err)
		return status;
	fprintf(stderr, "memlease: standard output cannot be written%s%s; what was printed is not complete\n",
		err ? ": " : "", err ? strerror(err) : "");
	return status ? status : CLI_FAILED;
}

void cli_error(const char *fmt, ...)
{
	int err = errno;	/* callers may still have a use for it */
	va_list ap;

	cli_flush();
	fputs("memlease: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	errno = err;
}
