// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a QEMU is kept from; see qemu_jail.h. Called by run and qemu_args. Who takes a QEMU over
 * finds a process that has its own VM's memory open, can open no other's, and can start nothing.
 */
#include "qemu_jail.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

/* A word of QEMU's, and what is pinned by a value that begins so, or has so among its properties. */
struct pinning {
	const char *option;
	const char *begins;
	const char *has;
};

static const struct pinning pinnings[] = {
	{ "-device", "vfio-", NULL }, { "-device", "{", "\"vfio-" },
	{ "-device", "", "driver=vfio-" }, { "-device", "", "driver=vhost-vdpa-device" },
	{ "-device", "vhost-vdpa-device", NULL }, { "-device", "{", "\"vhost-vdpa-device" },
	{ "-netdev", "vhost-vdpa", NULL }, { "-netdev", "type=vhost-vdpa", NULL },
	{ "-netdev", "{", "\"vhost-vdpa\"" },
	{ "-object", "iommufd", NULL }, { "-object", "qom-type=iommufd", NULL },
	{ "-object", "{", "\"iommufd\"" },
	{ "-drive", "", "nvme://" }, { "-drive", "", "driver=nvme" },
	{ "-blockdev", "", "driver=nvme" }, { "-blockdev", "{", "\"nvme\"" },
	{ "-blockdev", "", "virtio-blk-vhost-vdpa" }, { "-blockdev", "", "virtio-blk-vfio-pci" },
	{ "-blockdev", "", "nvme-io_uring" },
};

/* Of "-device" and "--device" the same. */
static const char *one_dash(const char *word)
{
	return word[0] == '-' && word[1] == '-' ? word + 1 : word;
}

static const struct pinning *find_pinning(const char *option, const char *value)
{
	for (size_t i = 0; i < sizeof(pinnings) / sizeof(pinnings[0]); i++) {
		const struct pinning *p = &pinnings[i];

		if (!strcmp(one_dash(option), p->option) && !strncmp(value, p->begins, strlen(p->begins)) &&
		    (!p->has || strstr(value, p->has)))
			return p;
	}
	return NULL;
}

int qemu_jail_check(char *const *extra, struct ml_why *why)
{
	for (char *const *word = extra; word && word[0] && word[1]; word++) {
		if (find_pinning(word[0], word[1]))
			return ml_refuse(why, -EINVAL,
					 "'%s %.80s' pins the guest's memory: the device would go on using blocks that the guest gave back and that are another VM's; leave it out",
					 word[0], word[1]);
	}
	return 0;
}

int qemu_jail_path(const char *socket, struct ml_why *why)
{
	char dir[PATH_BYTES];
	struct stat st;

	if (strlen(socket) >= sizeof(dir))
		return ml_refuse(why, -ENAMETOOLONG, "%.60s...: too long", socket);
	strcpy(dir, socket);
	for (char *slash = strrchr(dir, '/'); slash && slash != dir; slash = strrchr(dir, '/')) {
		*slash = '\0';
		if (!stat(dir, &st) && !(st.st_mode & S_IXOTH))
			return ml_refuse(why, -EACCES,
					 "%s lets no other user pass, so a QEMU with a uid of its own could not connect again when the daemon was restarted; chmod o+x it, or give --uid-base 0",
					 dir);
	}
	return 0;
}

static bool has_word(char *const *extra, const char *option)
{
	for (char *const *word = extra; word && *word; word++)
		if (!strcmp(one_dash(*word), option))
			return true;
	return false;
}

void qemu_jail_args(uint32_t uid, char *const *extra, struct words *out)
{
	/*
	 * To become another user QEMU must be let, once; as that user it has no right to become
	 * yet another, and no_new_privs keeps it from gaining one.
	 */
	bool drops = uid || has_word(extra, "-run-with") || has_word(extra, "-runas");

	if (!has_word(extra, "-sandbox"))
		words_optf(out, "-sandbox", "on,obsolete=deny%s,spawn=deny,resourcecontrol=deny",
			   drops ? "" : ",elevateprivileges=deny");
	if (uid && !has_word(extra, "-run-with") && !has_word(extra, "-runas"))
		words_optf(out, "-run-with", "user=%u:%u", uid, uid);
}

void qemu_jail_close(char *const *extra)
{
	/* It fails on no Linux that we run on. */
	if (!has_word(extra, "-sandbox"))
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
