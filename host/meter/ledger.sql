-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- The ledger, version 1 (PRAGMA user_version). One row of usage per VM and
-- metering period. The row of the open period is rewritten about every second
-- with values counted from the start of the period, never added to: writing it
-- twice has the effect of once. A period starts at a multiple of its length in
-- UTC, or when the VM began; until_ms says up to when the row counts.
CREATE TABLE vm (
	id INTEGER PRIMARY KEY,
	uuid TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL,
	tenant TEXT NOT NULL,
	plan TEXT NOT NULL,
	boot_blocks INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,	-- milliseconds since 1970, UTC
	ended_ms INTEGER		-- NULL while the VM exists
) STRICT;

CREATE TABLE usage (
	vm INTEGER NOT NULL REFERENCES vm(id),
	start_ms INTEGER NOT NULL,
	until_ms INTEGER NOT NULL,
	resident_block_ns INTEGER NOT NULL,	-- exact integral of resident blocks over time
	committed_block_ns INTEGER NOT NULL,
	guarantee_block_ns INTEGER NOT NULL,
	peak_resident_blocks INTEGER NOT NULL,
	touches INTEGER NOT NULL,
	waits INTEGER NOT NULL,		-- touches that had to wait for a block
	wait_ns INTEGER NOT NULL,
	PRIMARY KEY (vm, start_ms)
) STRICT, WITHOUT ROWID;

-- A ledger that began in place of one that could not be read has a table more, which those that
-- read version 1 may pass over: gap (at_ms, file, reason), a row for each time that this happened.
-- What was used before at_ms is in that file, and bills say so.

CREATE INDEX usage_by_start ON usage (start_ms);
CREATE INDEX vm_by_tenant ON vm (tenant);
