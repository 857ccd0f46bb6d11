/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the commands about VMs; see call.h and schema.json. */
#ifndef ML_CTL_CMD_VM_H
#define ML_CTL_CMD_VM_H

#include "call.h"

ctl_handler cmd_query_vm, cmd_query_vms, cmd_vm_create, cmd_vm_delete, cmd_vm_set;
ctl_handler cmd_vm_report_now, cmd_vm_kill;

#endif /* ML_CTL_CMD_VM_H */
