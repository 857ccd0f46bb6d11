/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon was told on its command line, with defaults filled in and
 * every value checked as far as it can be without touching anything. Read once
 * by main.c; constant afterwards.
 */
#ifndef ML_DAEMON_CONFIG_H
#define ML_DAEMON_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../base/log.h"

#define CONFIG_PERIOD_DEFAULT_S 300
#define CONFIG_OVERBOOK_DEFAULT_PERCENT 200
#define CONFIG_OVERBOOK_MAX_PERCENT 100000
#define CONFIG_START_TIMEOUT_DEFAULT_S 600
#define CONFIG_START_TIMEOUT_MAX_S 31536000
#define CONFIG_POOL_MAX_BYTES (1ULL << 48)
#define CONFIG_ZERO_RATE_DEFAULT (4ULL << 30)	/* bytes per second */
#define CONFIG_ZERO_RATE_MIN (16ULL << 20)
#define CONFIG_ZERO_THREADS_MAX 16

enum config_sandbox { SANDBOX_ON, SANDBOX_LOG, SANDBOX_OFF, SANDBOX_KILL };

struct config {
	uint64_t pool_blocks;		/* 0: reserved says */
	bool reserved;			/* --pool reserved: the host module's memory */
	const char *ranges;		/* what stood behind it, or NULL: the device tree says */
	bool has_device_group;
	gid_t device_group;		/* may open the windows of VMs */
	uint32_t zero_threads;
	uint64_t zero_bytes_per_s;	/* 0: no bound */
	char run_dir[PATH_MAX];
	char state_dir[PATH_MAX];
	char pool_dir[PATH_MAX];
	bool own_pool;			/* neither --pool-dir nor reserved: the daemon mounts RUN/pool itself */
	char ledger[PATH_MAX];
	const char *plans;		/* NULL: those built in */
	uint32_t period_s;
	uint32_t overbook_percent;	/* 0: no bound */
	uint32_t start_timeout_s;	/* 0: none */
	bool has_group;
	gid_t group;			/* of the control socket */
	bool has_user;			/* --user, and it is not whom we are already */
	uid_t uid;
	gid_t gid;
	char user[64];
	enum ml_log_level log_level;
	enum config_sandbox sandbox;
	int keep_index;			/* of --keep in argv; 0: not given */
	bool mount_only, check_only;
};

enum config_result {
	CONFIG_RUN,	/* go on */
	CONFIG_DONE,	/* --help or --version: printed; exit 0 */
	CONFIG_BAD,	/* said on standard error; exit 2 */
};

enum config_result config_read(struct config *config, int argc, char **argv);

#endif /* ML_DAEMON_CONFIG_H */
