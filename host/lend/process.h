/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's process, named by pid and start time (a pid alone may be another's by
 * now) and watched through a pidfd. Called by lend/ only.
 */
#ifndef ML_LEND_PROCESS_H
#define ML_LEND_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Open a pidfd. start 0: any process of this pid, whose start time comes back in
 * *found; otherwise only the one that started then. -ESRCH: gone.
 */
int process_open(pid_t pid, uint64_t start, uint64_t *found);
/*
 * The start time of the process that a pidfd stands for, whose number is pid; another
 * that has the number by now is not mistaken for it. -ESRCH: gone.
 */
int process_started(int pidfd, pid_t pid, uint64_t *start);
bool process_alive(int pidfd);
void process_kill(int pidfd);

#endif /* ML_LEND_PROCESS_H */
