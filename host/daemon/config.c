// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line of memleased. Called by main.c before anything else; prints
 * to standard error what is wrong, with which value, and what to do.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/size.h"
#include "../base/terms.h"
#include "../base/version.h"

#define DAY_S 86400
#define SOCKET_PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)

enum {
	OPT_POOL = 256, OPT_POOL_DIR, OPT_DEVICE_GROUP, OPT_ZERO_RATE, OPT_ZERO_THREADS, OPT_STATE_DIR, OPT_RUN_DIR, OPT_LEDGER, OPT_PLANS, OPT_PERIOD,
	OPT_OVERBOOK, OPT_START_TIMEOUT, OPT_SOCKET_GROUP, OPT_USER, OPT_LOG_LEVEL, OPT_SANDBOX, OPT_KEEP,
	OPT_MOUNT_ONLY, OPT_CHECK_CONFIG, OPT_VERSION, OPT_HELP,
};

static const struct option options[] = {
	{ "pool", required_argument, NULL, OPT_POOL },
	{ "pool-dir", required_argument, NULL, OPT_POOL_DIR },
	{ "device-group", required_argument, NULL, OPT_DEVICE_GROUP },
	{ "zero-rate", required_argument, NULL, OPT_ZERO_RATE },
	{ "zero-threads", required_argument, NULL, OPT_ZERO_THREADS },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "ledger", required_argument, NULL, OPT_LEDGER },
	{ "plans", required_argument, NULL, OPT_PLANS },
	{ "period", required_argument, NULL, OPT_PERIOD },
	{ "overbook", required_argument, NULL, OPT_OVERBOOK },
	{ "start-timeout", required_argument, NULL, OPT_START_TIMEOUT },
	{ "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
	{ "user", required_argument, NULL, OPT_USER },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "keep", no_argument, NULL, OPT_KEEP },
	{ "mount-only", no_argument, NULL, OPT_MOUNT_ONLY },
	{ "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
"memleased --pool SIZE | reserved[:BASE,SIZE...] [options]\n"
"\n"
"Lends the host's memory to virtual machines in blocks of 2 MiB, and meters it.\n"
"\n"
"  --pool SIZE          memory to lend: 512M, 4G, ... (needed)\n"
"  --pool reserved[:BASE,SIZE[/TIER]...]\n"
"                       memory that was carved out of the host at boot (memmap=), through\n"
"                       the module memlease_pool; without ranges: those of the device tree\n"
"  --device-group NAME  with reserved: group that may open the memory of VMs, besides the\n"
"                       daemon's user\n"
"  --zero-rate SIZE     with reserved: bound of zeroing in the background, bytes per second,\n"
"                       or none (default: 4G)\n"
"  --zero-threads N     with reserved: threads that zero (default: 1)\n"
"  --pool-dir DIR       a tmpfs or hugetlbfs that holds the pool\n"
"                       (default: a tmpfs of its own, mounted at RUN-DIR/pool; root only)\n"
"  --run-dir DIR        sockets (default: /run/memlease for root, else\n"
"                       $XDG_RUNTIME_DIR/memlease)\n"
"  --state-dir DIR      what must outlive the daemon (default: RUN-DIR/state)\n"
"  --ledger FILE        usage, for bills (default: /var/lib/memlease/ledger.db for root,\n"
"                       else $XDG_STATE_HOME/memlease/ledger.db)\n"
"  --plans FILE         plans and prices (default: those built in)\n"
"  --period SECONDS     length of a metering period, divides a day (default: 300)\n"
"  --overbook PERCENT   most memory committed to VMs, in percent of the pool,\n"
"                       or none (default: 200)\n"
"  --start-timeout SECONDS\n"
"                       how long a VM that was created holds boot memory and guarantee, and is\n"
"                       billed, without a QEMU; or none: for ever (default: 600)\n"
"  --socket-group NAME  group that may use the control socket\n"
"  --user NAME          run as this user, once the pool is mounted\n"
"  --log-level LEVEL    error, warn, info or debug (default: info)\n"
"  --sandbox MODE       of system calls that the daemon has no use for: on (they fail), kill\n"
"                       (they end the daemon), log (they pass), and each is audited; or off\n"
"                       (default: on)\n"
"  --keep               supervise: restart the daemon when it dies, and keep its\n"
"                       descriptors meanwhile (systemd does both by itself)\n"
"  --mount-only         mount the pool's tmpfs, unless --pool-dir is given, and exit\n"
"  --check-config       look at options and files, say of each what is wrong with it, and exit:\n"
"                       0, 1 for a file, 2 for an option; changes nothing\n"
"  --version, --help\n"
"\n"
"Restarting it leaves VMs running. docs/operating.md says more.\n";

static bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("memleased: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; see memleased --help\n", stderr);
	return false;
}

static bool take_number(const char *option, const char *text, unsigned long min, unsigned long max,
			uint32_t *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || value < min || value > max)
		return wrong("%s '%s' is no number from %lu to %lu", option, text, min, max);
	*out = (uint32_t)value;
	return true;
}

static bool take_path(const char *option, const char *text, char *out)
{
	char cwd[PATH_MAX] = "";
	int len;

	if (!text[0])
		return wrong("%s is empty; give a path", option);
	if (text[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return wrong("%s '%s': the working directory cannot be found; give an absolute path",
			     option, text);
	len = snprintf(out, PATH_MAX, "%s%s%s", cwd, cwd[0] ? "/" : "", text);
	if (len >= PATH_MAX)
		return wrong("%s '%.60s...' is too long", option, text);
	while (len > 1 && out[len - 1] == '/')
		out[--len] = '\0';
	return true;
}

static bool take_pool_size(const char *text, uint64_t *blocks)
{
	uint64_t bytes;

	if (ml_size_parse(text, &bytes))
		return wrong("--pool '%s' is no size; write 512M or 4G", text);
	if (bytes < MEMLEASE_BLOCK_BYTES || bytes % MEMLEASE_BLOCK_BYTES)
		return wrong("--pool '%s' is no whole number of 2 MiB blocks; write 512M or 4G",
			     text);
	if (bytes > CONFIG_POOL_MAX_BYTES)
		return wrong("--pool '%s' is more than any host has", text);
	*blocks = bytes / MEMLEASE_BLOCK_BYTES;
	return true;
}

static bool take_pool(const char *text, struct config *config)
{
	static const char name[] = "reserved";
	size_t len = sizeof(name) - 1;

	config->reserved = !strncmp(text, name, len) && (!text[len] || text[len] == ':');
	config->ranges = config->reserved && text[len] ? text + len + 1 : NULL;
	config->pool_blocks = 0;
	return config->reserved || take_pool_size(text, &config->pool_blocks);
}

static bool take_zero_rate(const char *text, uint64_t *bytes_per_s)
{
	*bytes_per_s = 0;
	if (!strcmp(text, "none"))
		return true;
	if (ml_size_parse(text, bytes_per_s) || *bytes_per_s < CONFIG_ZERO_RATE_MIN)
		return wrong("--zero-rate '%s' is no size of at least 16M; write 1G, or none",
			     text);
	return true;
}

static bool take_period(const char *text, uint32_t *period_s)
{
	if (!take_number("--period", text, 1, DAY_S, period_s))
		return false;
	if (DAY_S % *period_s)
		return wrong("--period '%s' does not divide a day of %d seconds; take 60, 300 or 3600",
			     text, DAY_S);
	return true;
}

static bool take_group(const char *option, const char *text, bool *given, gid_t *gid)
{
	const struct group *entry = getgrnam(text);

	if (!entry)
		return wrong("%s '%s': there is no such group; groupadd makes one", option, text);
	*given = true;
	*gid = entry->gr_gid;
	return true;
}

static bool take_user(const char *text, struct config *config)
{
	const struct passwd *entry = getpwnam(text);

	if (!entry || strlen(text) >= sizeof(config->user))
		return wrong("--user '%s': there is no such user; useradd makes one", text);
	if (geteuid() != 0 && entry->pw_uid != geteuid())
		return wrong("--user '%s': only root can become another user; start as root, or without --user",
			     text);
	config->has_user = entry->pw_uid != geteuid();
	config->uid = entry->pw_uid;
	config->gid = entry->pw_gid;
	strcpy(config->user, text);
	return true;
}

static bool take_choice(const char *option, const char *text, const char *const *names, int *out)
{
	int i;

	for (i = 0; names[i]; i++) {
		if (!strcmp(text, names[i])) {
			*out = i;
			return true;
		}
	}
	fprintf(stderr, "memleased: %s '%s' must be one of:", option, text);
	for (i = 0; names[i]; i++)
		fprintf(stderr, " %s", names[i]);
	fputc('\n', stderr);
	return false;
}

static bool take_option(struct config *config, int opt, const char *arg)
{
	static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
	static const char *const modes[] = { "on", "log", "off", "kill", NULL };
	int i = 0;

	switch (opt) {
	case OPT_POOL:
		return take_pool(arg, config);
	case OPT_DEVICE_GROUP:
		return take_group("--device-group", arg, &config->has_device_group,
				  &config->device_group);
	case OPT_ZERO_RATE:
		return take_zero_rate(arg, &config->zero_bytes_per_s);
	case OPT_ZERO_THREADS:
		return take_number("--zero-threads", arg, 1, CONFIG_ZERO_THREADS_MAX,
				   &config->zero_threads);
	case OPT_POOL_DIR:
		return take_path("--pool-dir", arg, config->pool_dir);
	case OPT_STATE_DIR:
		return take_path("--state-dir", arg, config->state_dir);
	case OPT_RUN_DIR:
		return take_path("--run-dir", arg, config->run_dir);
	case OPT_LEDGER:
		return take_path("--ledger", arg, config->ledger);
	case OPT_PLANS:
		config->plans = arg;
		return true;
	case OPT_PERIOD:
		return take_period(arg, &config->period_s);
	case OPT_OVERBOOK:
		config->overbook_percent = 0;
		return !strcmp(arg, "none") || take_number("--overbook", arg, 1,
							   CONFIG_OVERBOOK_MAX_PERCENT,
							   &config->overbook_percent);
	case OPT_START_TIMEOUT:
		config->start_timeout_s = 0;
		return !strcmp(arg, "none") || take_number("--start-timeout", arg, 1,
							   CONFIG_START_TIMEOUT_MAX_S,
							   &config->start_timeout_s);
	case OPT_SOCKET_GROUP:
		return take_group("--socket-group", arg, &config->has_group, &config->group);
	case OPT_USER:
		return take_user(arg, config);
	case OPT_LOG_LEVEL:
		if (!take_choice("--log-level", arg, levels, &i))
			return false;
		config->log_level = (enum ml_log_level)i;
		return true;
	case OPT_SANDBOX:
		if (!take_choice("--sandbox", arg, modes, &i))
			return false;
		config->sandbox = (enum config_sandbox)i;
		return true;
	case OPT_KEEP:
		config->keep_index = optind - 1;
		return true;
	case OPT_MOUNT_ONLY:
		return config->mount_only = true;
	case OPT_CHECK_CONFIG:
		return config->check_only = true;
	default:
		return false;
	}
}

/* dir/tail into out. */
static bool join(char *out, const char *dir, const char *tail)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, tail) >= PATH_MAX)
		return wrong("the path '%.60s.../%s' is too long", dir, tail);
	return true;
}

static bool default_ledger(struct config *config)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return join(config->ledger, "/var/lib/memlease", "ledger.db");
	if (state && state[0] == '/')
		return join(config->ledger, state, "memlease/ledger.db");
	if (home && home[0] == '/')
		return join(config->ledger, home, ".local/state/memlease/ledger.db");
	return wrong("neither XDG_STATE_HOME nor HOME is set; say where the ledger is by --ledger");
}

static bool fill_in(struct config *config)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (!config->pool_blocks && !config->reserved)
		return wrong("--pool is missing: say how much memory to lend, as in --pool 4G");
	if (!config->run_dir[0]) {
		if (geteuid() == 0)
			strcpy(config->run_dir, ML_RUN_DIR);
		else if (!runtime || runtime[0] != '/')
			return wrong("XDG_RUNTIME_DIR is not set; say where the sockets go by --run-dir");
		else if (!join(config->run_dir, runtime, ML_RUN_SUBDIR))
			return false;
	}
	if (strlen(config->run_dir) + strlen("/" ML_CONTROL_SOCKET) >= SOCKET_PATH_BYTES)
		return wrong("--run-dir '%.60s...' is too long for the paths of sockets; give a shorter one",
			     config->run_dir);
	if (!config->state_dir[0] && !join(config->state_dir, config->run_dir, "state"))
		return false;
	if (config->reserved && config->pool_dir[0])
		return wrong("--pool-dir '%.60s' does not go with --pool reserved, which has no directory; leave it out",
			     config->pool_dir);
	if (config->reserved) {
		strcpy(config->pool_dir, "/dev/memlease");
		return config->ledger[0] || default_ledger(config);
	}
	config->own_pool = !config->pool_dir[0];
	if (config->own_pool && !join(config->pool_dir, config->run_dir, "pool"))
		return false;
	return config->ledger[0] || default_ledger(config);
}

enum config_result config_read(struct config *config, int argc, char **argv)
{
	int opt;

	memset(config, 0, sizeof(*config));
	config->period_s = CONFIG_PERIOD_DEFAULT_S;
	config->zero_bytes_per_s = CONFIG_ZERO_RATE_DEFAULT;
	config->zero_threads = 1;
	config->overbook_percent = CONFIG_OVERBOOK_DEFAULT_PERCENT;
	config->start_timeout_s = CONFIG_START_TIMEOUT_DEFAULT_S;
	config->log_level = ML_LOG_INFO;
	config->uid = geteuid();
	config->gid = getegid();
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP || opt == OPT_VERSION) {
			fputs(opt == OPT_HELP ? help_text : "memleased " ML_VERSION "\n", stdout);
			if (fflush(stdout) || ferror(stdout)) {
				fprintf(stderr, "memleased: standard output cannot be written: %s\n",
					strerror(errno));
				return CONFIG_BAD;
			}
			return CONFIG_DONE;
		}
		if (opt == '?') {
			fputs("see memleased --help\n", stderr);
			return CONFIG_BAD;
		}
		if (!take_option(config, opt, optarg))
			return CONFIG_BAD;
	}
	if (optind < argc) {
		wrong("'%s' is no option", argv[optind]);
		return CONFIG_BAD;
	}
	return fill_in(config) ? CONFIG_RUN : CONFIG_BAD;
}
