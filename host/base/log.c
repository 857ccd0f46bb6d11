// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The log: one write() per line, so that lines of several threads do not mix.
 * Called from everywhere in host/; it may not fail, block on anything but
 * standard error, or change errno.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define LOG_LINE_BYTES 1024

static enum ml_log_level log_level = ML_LOG_INFO;

/* As syslog(3) numbers them; journald reads "<3>" at the start of a line. */
static const char *const journal_prefix[] = { "<3>", "<4>", "<6>", "<7>" };
static const char *const plain_prefix[] = { "error: ", "warning: ", "", "debug: " };

/* systemd names the device and inode of the stream it reads in JOURNAL_STREAM. */
static bool journald_reads(void)
{
	static _Atomic int known = -1;	/* several threads may find out, all the same */
	int reads = known;
	const char *stream;
	struct stat st;
	char own[64];

	if (reads >= 0)
		return reads;
	reads = 0;
	stream = getenv("JOURNAL_STREAM");
	if (stream && fstat(STDERR_FILENO, &st) == 0) {
		snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
		reads = strcmp(own, stream) == 0;
	}
	known = reads;
	return reads;
}

void ml_log_set_level(enum ml_log_level level)
{
	log_level = level;
}

void ml_log(enum ml_log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES];
	int saved = errno, n;
	size_t used;
	va_list ap;

	if (level > log_level)
		return;
	n = snprintf(line, sizeof(line), "%s",
		     journald_reads() ? journal_prefix[level] : plain_prefix[level]);
	used = (size_t)n;
	errno = saved;		/* for %m */
	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		used += (size_t)n;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	/* What peers put into a message must not start a line of its own. */
	for (char *c = line; c < line + used; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	line[used] = '\n';
	if (write(STDERR_FILENO, line, used + 1) < 0) {
		/* A log that cannot be written cannot be complained of. */
	}
	errno = saved;
}
