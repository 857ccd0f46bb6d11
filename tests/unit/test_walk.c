// SPDX-License-Identifier: GPL-2.0-or-later
/* base/walk.c: which links are followed, what is made, which files are opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "../../host/base/walk.h"
#include "scratch.h"

#define STRANGER 65534

static struct scratch scratch;
static struct ml_why why;
static char made_path[PATH_MAX];

static int setup(void **state)
{
	(void)state;
	return scratch_make(&scratch, 4);
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

static const char *in(const char *name)
{
	snprintf(made_path, sizeof(made_path), "%s/%s", scratch.dir, name);
	return made_path;
}

static void make(const char *name)
{
	assert_int_equal(mkdir(in(name), 0755), 0);
}

static void link_to(const char *target, const char *name)
{
	assert_int_equal(symlink(target, in(name)), 0);
}

static int walk(const char *name)
{
	int fd = ml_walk_dir(in(name), &why);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static bool same(int fd, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(in(name), &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static void own_links_are_followed(void **state)
{
	char target[PATH_MAX];
	int fd;

	(void)state;
	make("a");
	make("a/b");
	link_to("a", "here");
	link_to("../a/./b//", "a/up");
	snprintf(target, sizeof(target), "%s/a/", scratch.dir);
	link_to(target, "whole");
	link_to("round", "round");
	fd = ml_walk_dir(in("here/../whole/up"), &why);
	assert_true(fd >= 0 && same(fd, "a/b"));
	close(fd);
	assert_int_equal(walk("round"), -ELOOP);
	assert_int_equal(walk("none/b"), -ENOENT);
	assert_non_null(strstr(why.text, "'none'"));
	close(creat(in("file"), 0600));
	assert_int_equal(walk("file"), -ENOTDIR);
	assert_int_equal(walk("file/b"), -ENOTDIR);
}

static void links_of_others_are_not(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	make("victim");
	make("theirs");
	assert_int_equal(chown(in("theirs"), STRANGER, STRANGER), 0);
	/* Whoever the link belongs to: the directory is theirs. */
	link_to("../victim", "theirs/link");
	assert_int_equal(walk("theirs/link"), -ELOOP);
	assert_non_null(strstr(why.text, "planted"));
	/* Through one of root's, too. */
	link_to("theirs/link", "ours");
	assert_int_equal(walk("ours"), -ELOOP);
	/* In a directory where all may make links, those of strangers. */
	make("tmp");
	assert_int_equal(chmod(in("tmp"), 01777), 0);
	link_to("../victim", "tmp/ours");
	assert_int_equal(walk("tmp/ours"), 0);
	assert_int_equal(lchown(in("tmp/ours"), STRANGER, STRANGER), 0);
	assert_int_equal(walk("tmp/ours"), -ELOOP);
	assert_int_equal(chmod(in("tmp"), 0777), 0);
	assert_int_equal(lchown(in("tmp/ours"), 0, 0), 0);
	assert_int_equal(walk("tmp/ours"), -ELOOP);
	/* Their directories are walked all the same. */
	make("theirs/dir");
	assert_int_equal(walk("theirs/dir"), 0);
}

static void what_is_missing_is_made(void **state)
{
	struct stat st;
	bool made;
	int fd;

	(void)state;
	fd = ml_walk_make(in("a/b/c"), 0700, &made, &why);
	assert_true(fd >= 0 && made && same(fd, "a/b/c"));
	assert_true(!fstat(fd, &st) && (st.st_mode & 0777) == 0700);
	close(fd);
	fd = ml_walk_make(in("a/b"), 0700, &made, &why);
	assert_true(fd >= 0 && !made);
	assert_true(!fstat(fd, &st) && (st.st_mode & 0777) == 0755);
	close(fd);
}

static void files_have_one_name(void **state)
{
	char text[8] = "";
	int fd;

	(void)state;
	fd = ml_walk_file(in("log"), O_RDWR, &why);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "kept", 4), 4);
	close(fd);
	fd = ml_walk_file(in("log"), O_RDWR, &why);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	close(fd);
	link_to("log", "soft");
	assert_int_equal(ml_walk_file(in("soft"), O_WRONLY, &why), -EEXIST);
	assert_int_equal(mkfifo(in("pipe"), 0600), 0);
	assert_int_equal(ml_walk_file(in("pipe"), O_WRONLY, &why), -EEXIST);
	assert_int_equal(ml_walk_file(in("pipe"), O_RDWR, &why), -EEXIST);
	make("dir");
	assert_int_equal(ml_walk_file(in("dir"), O_WRONLY, &why), -EEXIST);
	link_to("nowhere", "dangling");
	assert_int_equal(ml_walk_file(in("dangling"), O_WRONLY, &why), -EEXIST);
	assert_int_equal(access(in("nowhere"), F_OK), -1);
	{
		char target[PATH_MAX];

		snprintf(target, sizeof(target), "%s", in("log"));
		assert_int_equal(link(target, in("hard")), 0);
	}
	assert_int_equal(ml_walk_file(in("hard"), O_WRONLY, &why), -EEXIST);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(own_links_are_followed), T(links_of_others_are_not), T(what_is_missing_is_made),
		T(files_have_one_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
