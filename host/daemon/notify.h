/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says to whoever started it: the keeper, over a socket that the two have to
 * themselves, or systemd, by the address of NOTIFY_SOCKET; in the words of sd_notify(3). In
 * place of the library's functions because those wait for a reader. Nothing here waits: what is
 * said while the other side does not read is lost, but for what the descriptor store shall
 * keep or drop, which is said again until it is taken. On the event loop's thread only.
 */
#ifndef ML_DAEMON_NOTIFY_H
#define ML_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define KEEP_LINK_ENV "MEMLEASE_KEEPER"	/* the number of the socket to the keeper */

/* Find out whom to tell; before rights are given up. Nobody is fine, and so is a second call. */
void notify_open(void);
/* Is there anybody? */
bool notify_present(void);

/* Say again what was not taken, and that the daemon lives (WATCHDOG_USEC), from now on. */
int notify_watch(sd_event *event);
void notify_close(void);

void notify_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Keep a copy of fd under name, in place of what was there; -1: drop what was there. */
void notify_store(const char *name, int fd);

#endif /* ML_DAEMON_NOTIFY_H */
