// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which physical memory the pool is made of; see reserved_ranges.h. Nothing is guessed:
 * only what the operator names, or what a node of the device tree says, and that
 * only if Linux leaves it alone. The module checks the latter once more, by means
 * that only the kernel has.
 */
#include "reserved_ranges.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../proto/memlease_ioctl.h"
#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/size.h"
#include "reserved_fdt.h"

#define BLOCK (1ULL << MEMLEASE_POOL_BLOCK_SHIFT)
#define IOMEM_FILE "/proc/iomem"
#define FDT_FILE "/sys/firmware/fdt"
#define FILE_MAX_BYTES (16 << 20)
#define TIER_MAX 255
#define OUR_NAME "memlease pool"	/* of a range that the module has claimed */

/* --- what the operator named --- */

static int refuse_text(struct ml_why *why, const char *text, size_t len, const char *what)
{
	return ml_refuse(why, -EINVAL, "'%.*s' %s", len > 80 ? 80 : (int)len, text, what);
}

/* An address: 0x140000000, or a size as people write it, as 5G. */
static int parse_address(const char *text, uint64_t *out)
{
	char *end;

	if (text[0] != '0' || (text[1] | 0x20) != 'x')
		return ml_size_parse(text, out);
	errno = 0;
	*out = strtoull(text, &end, 16);
	return errno || *end || end == text + 2 ? -EINVAL : 0;
}

static int parse_tier(char *size, uint32_t *tier)
{
	char *slash = strchr(size, '/'), *end;
	unsigned long value;

	*tier = 0;
	if (!slash)
		return 0;
	*slash = '\0';
	value = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || slash[1] == '-' || value > TIER_MAX)
		return -EINVAL;
	*tier = (uint32_t)value;
	return 0;
}

static int parse_one(char *base, char *size, struct reserved_want *out, struct ml_why *why)
{
	if (parse_tier(size, &out->tier))
		return refuse_text(why, size, strlen(size),
				   "has no tier from 0 to 255 behind its '/'");
	if (parse_address(base, &out->base) || out->base % BLOCK)
		return refuse_text(why, base, strlen(base),
				   "is no physical address that is a multiple of 2 MiB; write 0x140000000");
	if (ml_size_parse(size, &out->bytes) || !out->bytes || out->bytes % BLOCK ||
	    out->base + out->bytes < out->base)
		return refuse_text(why, size, strlen(size),
				   "is no size of whole blocks of 2 MiB; write 512M or 4G");
	out->node = -1;
	return 0;
}

static bool overlaps(const struct reserved_want *a, uint64_t base, uint64_t last)
{
	return a->base <= last && base <= a->base + a->bytes - 1;
}

int reserved_ranges_parse(const char *text, struct reserved_want want[BACKEND_RANGES_MAX],
			  unsigned int *wants, struct ml_why *why)
{
	ml_autofree char *copy = strdup(text);
	char *rest = copy, *base, *size;
	int ret;

	*wants = 0;
	if (!copy)
		return -ENOMEM;
	while (rest && (base = strsep(&rest, ","))) {
		size = rest ? strsep(&rest, ",") : NULL;
		if (!size)
			return refuse_text(why, base, strlen(base),
					   "has no size behind it; write BASE,SIZE[,BASE,SIZE...]");
		if (*wants == BACKEND_RANGES_MAX)
			return refuse_text(why, text, strlen(text), "has more than 64 ranges");
		ret = parse_one(base, size, &want[*wants], why);
		if (ret)
			return ret;
		for (unsigned int i = 0; i < *wants; i++) {
			if (overlaps(&want[i], want[*wants].base,
				     want[*wants].base + want[*wants].bytes - 1))
				return refuse_text(why, base, strlen(base),
						   "begins a range that overlaps another");
		}
		++*wants;
	}
	return 0;
}

/* --- what Linux does with it --- */

struct entry {
	uint64_t first, last;
	int depth;
	const char *name;	/* up to the end of the line */
	size_t name_len;
};

static bool is(const struct entry *e, const char *name)
{
	return e->name_len == strlen(name) && !strncasecmp(e->name, name, e->name_len);
}

/* The entry at *text, which goes on to the next line. */
static bool next_entry(const char **text, struct entry *e)
{
	const char *line = *text, *end = strchrnul(line, '\n');
	char *at;

	if (!*line)
		return false;
	*text = *end ? end + 1 : end;
	e->depth = 0;
	while (line[e->depth] == ' ')
		e->depth++;
	e->depth /= 2;
	e->first = strtoull(line, &at, 16);
	if (*at != '-')
		return false;
	e->last = strtoull(at + 1, &at, 16);
	if (strncmp(at, " : ", 3))
		return false;
	e->name = at + 3;
	e->name_len = (size_t)(end - e->name);
	return true;
}

static int refuse_range(struct ml_why *why, const struct reserved_want *w, const struct entry *e, const char *what)
{
	char size[ML_SIZE_TEXT];

	return ml_refuse(why, -EEXIST,
			 "range 0x%" PRIx64 ",%s: %s 0x%" PRIx64 "-0x%" PRIx64 " (%.*s); carve it out at boot: memmap=%s$0x%" PRIx64 " on the kernel's command line",
			 w->base, ml_size_exact(w->bytes, size), what, e->first, e->last,
			 e->name_len > 40 ? 40 : (int)e->name_len, e->name, size, w->base);
}

static int check_range(const char *iomem, const struct reserved_want *w, struct ml_why *why)
{
	struct entry e, outer = { 0 };
	bool inside = false;

	while (next_entry(&iomem, &e)) {
		if (!overlaps(w, e.first, e.last) || is(&e, OUR_NAME))
			continue;
		if (e.depth == 0 && is(&e, "reserved")) {
			if (w->base < e.first || w->base + w->bytes - 1 > e.last)
				return refuse_range(why, w, &e, "it lies only partly in");
			inside = true;
			outer = e;
			continue;
		}
		return refuse_range(why, w, &e, inside && e.depth > outer.depth ?
				    "something else lies in it," : "Linux uses");
	}
	return 0;
}

int reserved_ranges_check(const char *iomem, const struct reserved_want *want,
			  unsigned int wants, struct ml_why *why)
{
	const char *at = iomem;
	uint64_t highest = 0;
	struct entry e;
	int ret = 0;

	while (next_entry(&at, &e))
		highest = e.last > highest ? e.last : highest;
	if (!highest)
		return ml_refuse(why, -EACCES,
				 "%s shows no addresses; start as root, with CAP_SYS_ADMIN",
				 IOMEM_FILE);
	for (unsigned int i = 0; !ret && i < wants; i++)
		ret = check_range(iomem, &want[i], why);
	return ret;
}

const char *reserved_ranges_candidates(const char *iomem, char *buf, size_t size)
{
	char text[ML_SIZE_TEXT];
	size_t used = 0;
	struct entry e;

	buf[0] = '\0';
	while (next_entry(&iomem, &e)) {
		uint64_t base = (e.first + BLOCK - 1) / BLOCK * BLOCK;
		uint64_t end = (e.last + 1) / BLOCK * BLOCK;

		if (e.depth || !is(&e, "reserved") || end <= base || used + 60 > size)
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s0x%" PRIx64 ",%s",
					 used ? " " : "", base, ml_size_exact(end - base, text));
	}
	return buf;
}

/* --- both, on this machine --- */

/* The whole file, with a NUL behind it; NULL: errno says why. */
static char *slurp(const char *path, size_t *size)
{
	ml_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL, *grown;
	size_t have = 0;
	ssize_t n = 1;

	if (fd < 0)
		return NULL;
	while (n > 0 && have < FILE_MAX_BYTES) {
		grown = realloc(text, have + 65536 + 1);
		if (!grown)
			break;
		text = grown;
		n = read(fd, text + have, 65536);
		if (n > 0)
			have += (size_t)n;
	}
	if (n) {
		free(text);
		return NULL;
	}
	text[have] = '\0';
	*size = have;
	return text;
}

static int from_tree(const char *iomem, struct reserved_setup *setup, struct ml_why *why)
{
	ml_autofree char *blob = NULL;
	char candidates[400];
	size_t size = 0;
	int ret = -ENOENT;

	blob = slurp(FDT_FILE, &size);
	if (blob)
		ret = reserved_ranges_of_tree(blob, size, setup->want, &setup->wants, why);
	if (ret != -ENOENT)
		return ret;
	reserved_ranges_candidates(iomem, candidates, sizeof(candidates));
	ml_err("--pool reserved: no ranges are named, and %s; name them: --pool reserved:BASE,SIZE%s%s",
	       blob ? "the device tree has no node compatible with \"memlease,pool\""
		    : "this host has no device tree",
	       candidates[0] ? "; reserved here are: " : "", candidates);
	return -EINVAL;
}

int reserved_ranges_find(const char *text, struct reserved_setup *setup)
{
	struct ml_why why = { "" };
	ml_autofree char *iomem = NULL;
	size_t size = 0;
	int ret;

	iomem = slurp(IOMEM_FILE, &size);
	if (!iomem) {
		ml_err("%s: %m", IOMEM_FILE);
		return -errno;
	}
	ret = text ? reserved_ranges_parse(text, setup->want, &setup->wants, &why)
		   : from_tree(iomem, setup, &why);
	if (!ret)
		ret = reserved_ranges_check(iomem, setup->want, setup->wants, &why);
	if (ret && why.text[0])
		ml_err("--pool reserved: %s", why.text);
	return ret;
}
