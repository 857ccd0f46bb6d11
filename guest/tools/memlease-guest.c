// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease-guest: shows, inside a VM, what it has borrowed, what it is billed for,
 * and why that is not more or less. Reads the driver's files in sysfs (see
 * docs/guest.md) and /proc/meminfo, and changes nothing. Needs libc only, so that
 * it can be built in any guest: cc -O2 -o memlease-guest memlease-guest.c
 */
#define _GNU_SOURCE	/* vasprintf */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VIRTIO_ID_MEMLEASE 63	/* as proto/memlease_abi.h has it */
#define BLOCK_BYTES (2ULL << 20)
#define MIB (1ULL << 20)
#define TEXT_BYTES 256
#define UNKNOWN UINT64_MAX
#define WORTH_SAYING_BYTES (16 * MIB)	/* less is not a reason anybody looks for */

/* What there is to know. A number that cannot be had is UNKNOWN, a text is "". */
struct facts {
	char state[TEXT_BYTES];
	uint64_t committed, window, limit, target;	/* blocks */
	char target_state[TEXT_BYTES];
	uint64_t resident, resident_boot;		/* blocks */
	char metered[TEXT_BYTES];			/* block-seconds */
	bool host_silent;				/* it tells these, but not now */
	uint64_t kernel;				/* blocks */
	uint64_t whole, strewn;				/* free bytes, in blocks of 2 MiB and in less */
	uint64_t stale;					/* blocks */
	uint64_t total, available, free, cache;		/* bytes */
	uint64_t refusals, offline_failures, online_failures, oom_rescues;
	char last_refusal[TEXT_BYTES];
	char reporting[TEXT_BYTES];
	char defrag[TEXT_BYTES];
};

static const char *root = "";

/* A path, to be freed. Out of memory is the end. */
static char *path_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *path_of(const char *format, ...)
{
	va_list args;
	char *path;
	int length;

	va_start(args, format);
	length = vasprintf(&path, format, args);
	va_end(args);
	if (length < 0) {
		fprintf(stderr, "memlease-guest: out of memory\n");
		exit(1);
	}
	return path;
}

/* The first line of a file, without its end. 0 or -errno. */
static int read_line(const char *path, char *line, size_t bytes)
{
	FILE *file = fopen(path, "re");
	int rc = 0;

	*line = '\0';
	if (!file)
		return -errno;
	errno = 0;
	if (!fgets(line, (int)bytes, file))
		rc = errno ? -errno : -ENODATA;
	line[strcspn(line, "\n")] = '\0';
	fclose(file);
	return rc;
}

static int read_text(const char *dir, const char *name, char *text)
{
	char *path = path_of("%s/%s", dir, name);
	int rc = read_line(path, text, TEXT_BYTES);

	free(path);
	return rc;
}

/* A file's number, or UNKNOWN. *rc, if not NULL, says why. */
static uint64_t read_number(const char *dir, const char *name, int *rc)
{
	char text[TEXT_BYTES], *end;
	uint64_t number;
	int got = read_text(dir, name, text);

	if (rc)
		*rc = got;
	if (got)
		return UNKNOWN;
	errno = 0;
	number = strtoull(text, &end, 10);
	return errno || end == text || *end ? UNKNOWN : number;
}

static void read_meminfo(struct facts *f)
{
	const struct {
		const char *key;
		uint64_t *to;
	} keys[] = {
		{ "MemTotal:", &f->total }, { "MemAvailable:", &f->available },
		{ "MemFree:", &f->free }, { "Cached:", &f->cache },
	};
	char *path = path_of("%s/proc/meminfo", root), line[TEXT_BYTES];
	FILE *file = fopen(path, "re");

	free(path);
	f->total = f->available = f->free = f->cache = UNKNOWN;
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			size_t length = strlen(keys[i].key);

			if (!strncmp(line, keys[i].key, length))
				*keys[i].to = strtoull(line + length, NULL, 10) << 10;
		}
	}
	fclose(file);
}

static void read_facts(const char *dir, struct facts *f)
{
	char text[TEXT_BYTES];
	int rc;

	memset(f, 0, sizeof(*f));
	read_text(dir, "state", f->state);
	f->committed = read_number(dir, "committed_blocks", NULL);
	f->window = read_number(dir, "window_blocks", NULL);
	f->limit = read_number(dir, "limit", NULL);
	f->target = read_text(dir, "target", text) || !strcmp(text, "none") ? UNKNOWN :
		    read_number(dir, "target", NULL);
	read_text(dir, "target_state", f->target_state);
	f->resident = read_number(dir, "resident_blocks", &rc);
	f->host_silent = rc == -ETIMEDOUT || rc == -ENODEV;
	/* Not three waits for a host that does not answer. */
	f->resident_boot = f->host_silent ? UNKNOWN : read_number(dir, "resident_boot_blocks", NULL);
	f->stale = f->host_silent ? UNKNOWN : read_number(dir, "stale_blocks", NULL);
	if (!f->host_silent)
		read_text(dir, "metered_block_seconds", f->metered);
	f->kernel = read_number(dir, "kernel_blocks", NULL);
	f->whole = read_number(dir, "large_free_bytes", NULL);
	f->strewn = read_number(dir, "strewn_bytes", NULL);
	f->refusals = read_number(dir, "refusals", NULL);
	read_text(dir, "last_refusal", f->last_refusal);
	f->offline_failures = read_number(dir, "offline_failures", NULL);
	f->online_failures = read_number(dir, "online_failures", NULL);
	f->oom_rescues = read_number(dir, "oom_rescues", NULL);
	read_text(dir, "reporting", f->reporting);
	read_text(dir, "defrag", f->defrag);
	read_meminfo(f);
}

/* --- the device ---------------------------------------------------------------- */

static bool exists(const char *name)
{
	char *path = path_of("%s%s", root, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

/* Is there a device of ours that no driver has taken? */
static bool device_waits(void)
{
	char *pattern = path_of("%s/sys/bus/virtio/devices/*/device", root), line[TEXT_BYTES];
	bool found = false;
	glob_t got;
	int rc = glob(pattern, 0, NULL, &got);

	free(pattern);
	if (rc)
		return false;
	for (size_t i = 0; i < got.gl_pathc; i++)
		found |= !read_line(got.gl_pathv[i], line, sizeof(line)) &&
			 strtoul(line, NULL, 16) == VIRTIO_ID_MEMLEASE;
	globfree(&got);
	return found;
}

static void complain(void)
{
	if (!exists("/sys/bus/virtio"))
		fprintf(stderr, "memlease-guest: this machine has no virtio devices: it is no VM with memlease, or /sys is not mounted\n");
	else if (!exists("/sys/bus/virtio/drivers/virtio_memlease") && device_waits())
		fprintf(stderr, "memlease-guest: the host lends memory, but the driver is not loaded: try `modprobe virtio_memlease`, and see docs/guest.md for installing it\n");
	else if (!device_waits())
		fprintf(stderr, "memlease-guest: this VM has no memlease device: was it started by `memlease run`, or by a domain with one?\n");
	else
		fprintf(stderr, "memlease-guest: the driver is loaded but has not taken the device: `dmesg | grep memlease` says why\n");
}

/* The driver's directory of the device, to be freed; or NULL with a complaint. */
static char *find_device(void)
{
	char *pattern = path_of("%s/sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease", root);
	char *dir = NULL;
	glob_t got;

	if (glob(pattern, 0, NULL, &got)) {
		complain();
	} else {
		dir = path_of("%s", got.gl_pathv[0]);
		globfree(&got);
	}
	free(pattern);
	return dir;
}

/* --- for people ------------------------------------------------------------------ */

/* MiB of blocks, as text; "?" if unknown. The buffers serve one printf. */
static const char *mib(uint64_t bytes)
{
	static char text[8][32];
	static unsigned int next;
	char *to = text[next++ % 8];

	if (bytes == UNKNOWN)
		return "?";
	snprintf(to, sizeof(text[0]), "%llu MiB", (unsigned long long)(bytes / MIB));
	return to;
}

static uint64_t bytes_of(uint64_t blocks)
{
	return blocks == UNKNOWN ? UNKNOWN : blocks * BLOCK_BYTES;
}

static bool worth_saying(uint64_t bytes)
{
	return bytes != UNKNOWN && bytes >= WORTH_SAYING_BYTES;
}

/* Does the host back free memory that it was told of? */
static bool is_stale(const struct facts *f)
{
	return worth_saying(bytes_of(f->stale));
}

static void print_memory(const struct facts *f)
{
	printf("borrowed   %s of at most %s", mib(bytes_of(f->committed)),
	       mib(bytes_of(f->limit < f->window ? f->limit : f->window)));
	if (f->kernel != UNKNOWN && f->kernel)
		printf("; %s of it for the kernel", mib(bytes_of(f->kernel)));
	printf("\n");
	if (f->resident != UNKNOWN)
		printf("resident   %s are backed by the host and billed, %s of it boot memory\n",
		       mib(bytes_of(f->resident)), mib(bytes_of(f->resident_boot)));
	if (f->metered[0])
		printf("metered    %s block-seconds (of 2 MiB) since the VM was started\n", f->metered);
	printf("memory     %s in all, %s available, %s free, %s page cache\n", mib(f->total),
	       mib(f->available), mib(f->free), mib(f->cache));
	if (f->whole != UNKNOWN)
		printf("free       %s in whole blocks, which the host has or gets within %s; %s strewn\n",
		       mib(f->whole), is_stale(f) ? "a minute" : "a second", mib(f->strewn));
	if (f->target == UNKNOWN)
		printf("target     none\n");
	else
		printf("target     %s: %s\n", mib(bytes_of(f->target)), f->target_state);
}

static void print_why_not_less(const struct facts *f)
{
	if (f->reporting[0] && strcmp(f->reporting, "on"))
		printf("not less   free memory is not reported to the host: %s\n", f->reporting);
	if (is_stale(f))
		printf("not less   about %s of free memory were touched by somebody whom Linux does not know of, and are reported anew\n",
		       mib(bytes_of(f->stale)));
	if (worth_saying(f->strewn))
		printf("not less   %s of free memory lie in pieces, in blocks that are in use (defragmentation: %s)\n",
		       mib(f->strewn), f->defrag[0] ? f->defrag : "not in this driver");
	if (worth_saying(f->cache))
		printf("not less   %s hold page cache, which a target would take where nobody uses it\n",
		       mib(f->cache));
	if (!strcmp(f->target_state, "partly"))
		printf("not less   the target was missed: what is left is in use or cannot be moved (%llu attempts failed)\n",
		       (unsigned long long)f->offline_failures);
}

static void print_why_not_more(const struct facts *f)
{
	if (f->committed != UNKNOWN && f->committed >= f->limit)
		printf("not more   the limit is reached\n");
	else if (f->target != UNKNOWN && f->committed != UNKNOWN && f->committed >= f->target)
		printf("not more   the host wants this VM to come down to its target\n");
	if (f->refusals != UNKNOWN && f->refusals)
		printf("not more   %llu requests were refused, the last one for this reason: %s\n",
		       (unsigned long long)f->refusals, f->last_refusal);
	if (f->online_failures != UNKNOWN && f->online_failures)
		printf("not more   %llu times Linux did not take what was borrowed: see `dmesg | grep memlease`\n",
		       (unsigned long long)f->online_failures);
	if (f->oom_rescues != UNKNOWN && f->oom_rescues)
		printf("note       %llu times memory ran out and borrowing more saved a process\n",
		       (unsigned long long)f->oom_rescues);
}

static void print_people(const struct facts *f)
{
	if (strcmp(f->state, "running"))
		printf("state      %s\n", f->state);
	print_memory(f);
	if (f->host_silent)
		printf("note       the host does not answer at present; nothing is lost, it will be asked again\n");
	print_why_not_less(f);
	print_why_not_more(f);
}

/* --- for programs ----------------------------------------------------------------- */

static void json_text(const char *name, const char *text)
{
	printf(",\"%s\":", name);
	if (!*text) {
		printf("null");
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void json_number(const char *name, uint64_t number)
{
	if (number == UNKNOWN)
		printf(",\"%s\":null", name);
	else
		printf(",\"%s\":%llu", name, (unsigned long long)number);
}

static void print_json(const struct facts *f)
{
	printf("{\"block_bytes\":%llu", BLOCK_BYTES);
	json_text("state", f->state);
	json_number("committed_blocks", f->committed);
	json_number("window_blocks", f->window);
	json_number("limit_blocks", f->limit);
	json_number("target_blocks", f->target);
	json_text("target_state", f->target_state);
	json_number("resident_blocks", f->resident);
	json_number("resident_boot_blocks", f->resident_boot);
	printf(",\"metered_block_seconds\":%s", f->metered[0] ? f->metered : "null");
	json_number("kernel_blocks", f->kernel);
	json_number("free_whole_bytes", f->whole);
	json_number("free_strewn_bytes", f->strewn);
	json_number("stale_blocks", f->stale);
	json_number("total_bytes", f->total);
	json_number("available_bytes", f->available);
	json_number("free_bytes", f->free);
	json_number("cache_bytes", f->cache);
	json_number("refusals", f->refusals);
	json_text("last_refusal", f->last_refusal);
	json_number("offline_failures", f->offline_failures);
	json_number("online_failures", f->online_failures);
	json_number("oom_rescues", f->oom_rescues);
	json_text("reporting", f->reporting);
	json_text("defrag", f->defrag);
	printf("}\n");
}

/* --- the command --------------------------------------------------------------------- */

static const char usage[] =
	"Usage: memlease-guest [OPTION...]\n"
	"Show what this VM has borrowed from its host, what of it is backed and billed,\n"
	"and why that is not more or less.\n"
	"\n"
	"  --json              one line of JSON; what cannot be had is null\n"
	"  --watch[=SECONDS]   again and again, each second unless another is given\n"
	"  --root=DIR          read DIR/sys and DIR/proc instead of /sys and /proc\n"
	"  --help              this text\n";

static bool parse_seconds(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	if (end != text && !*end && *seconds >= 0.1 && *seconds <= 86400)
		return true;
	fprintf(stderr, "memlease-guest: --watch: '%s' is no number of seconds from 0.1 to 86400\n", text);
	return false;
}

/* Did all that was printed arrive? Complains where not. */
static bool written_out(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	fprintf(stderr, "memlease-guest: standard output cannot be written: %s\n", strerror(errno));
	return false;
}

static int show(bool json, double watch_s)
{
	struct timespec pause = { (time_t)watch_s, (long)((watch_s - (double)(time_t)watch_s) * 1e9) };
	bool screen = watch_s > 0 && !json && isatty(STDOUT_FILENO);
	struct facts facts;
	char *dir;

	for (;;) {
		dir = find_device();
		if (!dir)
			return 1;
		read_facts(dir, &facts);
		free(dir);
		if (screen)
			printf("\033[H\033[J");
		if (json)
			print_json(&facts);
		else
			print_people(&facts);
		if (!written_out())
			return 1;
		if (watch_s <= 0)
			return 0;
		if (!json && !screen)
			printf("\n");
		nanosleep(&pause, NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "watch", optional_argument, NULL, 'w' },
		{ "root", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	double watch_s = 0;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'w':
			watch_s = 1;
			if (optarg && !parse_seconds(optarg, &watch_s))
				return 2;
			break;
		case 'r':
			root = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return !written_out();
		default:
			fputs("Try `memlease-guest --help`.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "memlease-guest: '%s': takes no arguments but options; try --help\n", argv[optind]);
		return 2;
	}
	return show(json, watch_s);
}
