// SPDX-License-Identifier: GPL-2.0-or-later
/* Plans from a file, with what to go by when it cannot be read; see plan_file.h. */
#include "plan_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"

#define COPY_SUFFIX ".plans.json"
#define RECORD_SUFFIX ".vm"	/* as lend/record.h has it */

#define PATH_BYTES (PATH_MAX + 32)

static void copy_path(const struct config *config, const char *more, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s" COPY_SUFFIX "%s", config->ledger, more);
}

/* Does the state directory have a VM, or what is left of one? */
static bool has_vms(const struct config *config)
{
	DIR *dir = opendir(config->state_dir);
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = strstr(e->d_name, RECORD_SUFFIX) != NULL;
	if (dir)
		closedir(dir);
	return found;
}

/* The file's plans, and its text, for the copy. */
static int read_file(struct plan_file *f, const struct config *config, struct plans **plans)
{
	ml_autofree char *text = NULL;
	int ret;

	if (!config->plans)
		return plans_load(NULL, plans, &f->trouble);
	ret = plans_read(config->plans, &text, &f->trouble);
	if (!ret)
		ret = plans_parse(text, config->plans, plans, &f->trouble);
	if (ret)
		return ret;
	free(f->text);
	f->text = ml_steal_ptr(text);
	return 0;
}

int plan_file_start(struct plan_file *f, const struct config *config, struct plans **plans)
{
	struct ml_why no_copy = { "" };
	char path[PATH_BYTES];
	int ret = read_file(f, config, plans);

	if (!ret) {
		f->trouble.text[0] = '\0';
		return 0;
	}
	copy_path(config, "", path);
	if (!plans_load(path, plans, &no_copy)) {
		ml_refuse(&f->trouble, 0, "%s; the plans that could be read last, in %s, hold until it is mended and the daemon gets SIGHUP",
			  f->trouble.text, path);
	} else if (has_vms(config)) {
		*plans = plans_none(f->trouble.text);
		if (!*plans)
			return -ENOMEM;
		ml_refuse(&f->trouble, 0, "%s; VMs are metered, but no bill can be made until it is mended and the daemon gets SIGHUP",
			  f->trouble.text);
	} else {
		ml_err("--plans: %s", f->trouble.text);
		return ret;
	}
	ml_err("--plans: %s", f->trouble.text);
	return 0;
}

int plan_file_again(struct plan_file *f, const struct config *config, struct plans **plans)
{
	struct plans *new = NULL;
	int ret = read_file(f, config, &new);

	if (ret) {
		ml_refuse(&f->trouble, 0, "%s; the plans of before hold until it is mended and the daemon gets SIGHUP again",
			  f->trouble.text);
		ml_err("--plans: %s", f->trouble.text);
		return ret;
	}
	f->trouble.text[0] = '\0';
	plans_put(*plans);
	*plans = new;
	ml_info("plans: %zu, read again from %s", plans_count(new),
		config->plans ? config->plans : "memleased itself");
	return 0;
}

static int write_copy(const char *path, const char *temp, const char *text)
{
	ml_autoclose int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret = fd < 0 ? -errno : ml_write_all(fd, text, strlen(text));

	if (!ret && fdatasync(fd))
		ret = -errno;
	if (!ret && rename(temp, path))
		ret = -errno;
	return ret;
}

void plan_file_keep(struct plan_file *f, const struct config *config)
{
	char path[PATH_BYTES], temp[PATH_BYTES];
	ml_autofree char *before = NULL;
	struct ml_why why = { "" };
	int ret;

	if (!f->text)
		return;
	copy_path(config, "", path);
	copy_path(config, ".new", temp);
	if (plans_read(path, &before, &why) || strcmp(before, f->text) != 0) {
		ret = write_copy(path, temp, f->text);
		if (ret)
			ml_warn("plans: no copy could be made at %s: %s; should the file be damaged later, no bill can be made after a restart",
				path, strerror(-ret));
	}
	free(f->text);
	f->text = NULL;
}

void plan_file_done(struct plan_file *f)
{
	free(f->text);
	f->text = NULL;
}
