// SPDX-License-Identifier: GPL-2.0-or-later
/* vhost/assigned.c: by which of its open files a process has a device assigned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

#include "../../host/vhost/assigned.h"
#include "scratch.h"

static int check(const char *target)
{
	struct scratch scratch;
	struct ml_why why = { "" };
	char path[128];
	int fd, ret;

	assert_int_equal(scratch_make(&scratch, 2), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%d", scratch.pool, i);
		assert_int_equal(symlink("/dev/null", path), 0);
	}
	snprintf(path, sizeof(path), "%s/17", scratch.pool);
	assert_int_equal(symlink(target, path), 0);
	fd = open(scratch.pool, O_RDONLY | O_DIRECTORY);
	ret = assigned_check_links(fd, &why);
	assert_true(ret == 0 || strstr(why.text, target));
	close(fd);
	scratch_remove(&scratch);
	return ret;
}

static void devices_are_known(void **state)
{
	static const char *const yes[] = {
		"/dev/vfio/vfio", "/dev/vfio/12", "/dev/vfio/devices/vfio0", "/dev/iommu", "/dev/vhost-vdpa-3",
		"anon_inode:[vfio-device]", "anon_inode:[iommufd]",
	};
	static const char *const no[] = {
		"/dev/kvm", "/dev/vhost-net", "anon_inode:kvm-vm", "anon_inode:[userfaultfd]", "/tmp/vfio",
		"socket:[1]", "/home/x/dev/vfio/1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_int_equal(check(yes[i]), -EPERM);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_int_equal(check(no[i]), 0);
}

static void a_process_is_looked_at(void **state)
{
	struct ml_why why = { "" };

	(void)state;
	assert_int_equal(assigned_check(getpid(), &why), 0);
	assert_int_equal(assigned_check(0x7ffffffe, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_known), cmocka_unit_test(a_process_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
