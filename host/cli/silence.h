/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why no answer is to be had of a VM: by what the daemon knows of it, and by asking the kernel
 * and QEMU's own monitor, which takes up to a second where it does not answer either. Used by
 * the verbs that are about one VM.
 */
#ifndef ML_CLI_SILENCE_H
#define ML_CLI_SILENCE_H

#include "view.h"

/*
 * Why its QEMU does not let the guest run, or the guest sleeps, as a clause; "" where it runs, or
 * where nobody can tell.
 */
const char *vm_halted(const struct vm_view *vm, char text[VIEW_TEXT_MAX]);
/*
 * Why no answer is to be had of its guest at this time (wall clock, ms), as a clause; "" where
 * one is: vm_unheard() with the reason found out, if it can be.
 */
const char *vm_silence(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX]);

#endif /* ML_CLI_SILENCE_H */
