/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written into the ledger: a VM, and a row of its usage. */
#ifndef ML_METER_LEDGER_ENTRY_H
#define ML_METER_LEDGER_ENTRY_H

#include <stdint.h>

#include "meter.h"

#define LEDGER_VERSION 1	/* PRAGMA user_version */
#define LEDGER_NAME_BYTES 64

struct ledger_vm {
	char uuid[37];
	char name[LEDGER_NAME_BYTES], tenant[LEDGER_NAME_BYTES], plan[LEDGER_NAME_BYTES];
	uint64_t boot_blocks;
	int64_t created_ms;
	int64_t ended_ms;	/* -1 while the VM exists */
};

struct ledger_entry {
	uint32_t vm_key;	/* the caller's; with row.start_ms names the row */
	uint64_t tag;		/* the caller's; comes back in the acknowledgement */
	struct ledger_vm vm;
	struct meter_row row;
};

#endif /* ML_METER_LEDGER_ENTRY_H */
