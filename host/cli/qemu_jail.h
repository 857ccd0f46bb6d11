/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU is kept from: system calls it does not need, the rights and the files of others,
 * and devices that would hold on to memory which the guest gave back.
 */
#ifndef ML_CLI_QEMU_JAIL_H
#define ML_CLI_QEMU_JAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/why.h"
#include "view.h"
#include "words.h"

/*
 * Where the uids begin that root gives to VMs: above those that systemd hands out (to
 * 0x6fffffff), below those that are negative as int. One for each VM that a daemon can have.
 */
#define QEMU_UID_BASE 0x70000000u
#define QEMU_UID_BASE_MAX 0x7fff0000u

/*
 * Is there a word after "--" that assigns a device or pins memory by other means (VFIO, vDPA,
 * user-space NVMe, iommufd)? -EINVAL: what is wrong with it, in *why. QEMU with the device
 * refuses the same, later.
 */
int qemu_jail_check(char *const *extra, struct ml_why *why);

/*
 * Can a QEMU of another uid come back to this socket when the daemon was restarted? -EACCES:
 * a directory on the way does not let it pass.
 */
int qemu_jail_path(const char *socket, struct ml_why *why);

/*
 * Words of QEMU's sandbox and, unless uid is 0, of the user that it becomes when it has opened
 * all it needs. What extra sets itself is left to it.
 */
void qemu_jail_args(uint32_t uid, char *const *extra, struct words *out);

/* Before QEMU is started, unless extra sets a sandbox: nothing that runs from here on gains rights. */
void qemu_jail_close(char *const *extra);

#endif /* ML_CLI_QEMU_JAIL_H */
