/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How memlease ends, and how it complains.
 */
#ifndef ML_CLI_EXIT_H
#define ML_CLI_EXIT_H

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_PARTLY = 3,		/* set --wait: the target was not met; report-now: no answer */
};

/* The verb that was asked for, in whose name complaints are passed on; set once, by main. */
extern const char *cli_verb;

/* Write out what was printed. 0 or -errno, which cli_close_output() tells of. */
int cli_flush(void);

/*
 * Write out what is still to be written to standard output, and close it. Complains if any
 * of all that was printed did not arrive. Exit status: status, or CLI_FAILED in place of 0.
 */
int cli_close_output(int status);

/* "memlease: TEXT" to standard error. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* ML_CLI_EXIT_H */
