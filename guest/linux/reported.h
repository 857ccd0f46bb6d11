/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which free pages the kernel has reported. It marks them, and reports none twice until
 * somebody has had it. That is wrong where a page was touched while nobody had it.
 */
#ifndef MEMLEASE_REPORTED_H
#define MEMLEASE_REPORTED_H

/*
 * Take the mark from the free pages of 2 MiB and more of all zones, so that they are reported
 * once more. Neither allocates nor touches them. Interrupts are off for some microseconds at a
 * time; about a tenth of a millisecond for a GiB, in all. Sleeps now and then. The caller has the page arrays to
 * itself (turn/turn.h).
 */
void ml_reported_forget(void);

#endif /* MEMLEASE_REPORTED_H */
