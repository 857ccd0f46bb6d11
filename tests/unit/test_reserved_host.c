// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool/reserved_host.c: on which hosts a reserved pool is refused, or warned of; over
 * a directory that looks like sysfs and procfs in one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

#include "../../host/pool/reserved_host.h"
#include "scratch.h"

#define DEBIAN_13 "6.12.95+deb13-amd64"
#define BACKPORT "7.2.12+deb13-amd64"

static struct scratch scratch;
static char said[4096];

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

/* A file of sysfs, its directories made on the way. */
static void sys_file(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", scratch.pool, path);
	for (char *slash = full + strlen(scratch.pool) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* What it says goes to `said`. */
static int check(const char *release)
{
	int keep = dup(STDERR_FILENO), fd = open(scratch.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ssize_t n;
	int ret;

	assert_true(keep >= 0 && fd >= 0);
	dup2(fd, STDERR_FILENO);
	ret = reserved_host_check(scratch.pool, scratch.pool, release);
	dup2(keep, STDERR_FILENO);
	close(keep);
	n = pread(fd, said, sizeof(said) - 1, 0);
	close(fd);
	assert_true(n >= 0);
	said[n] = '\0';
	return ret;
}

static void a_plain_host_is_fine(void **state)
{
	(void)state;
	assert_int_equal(check(DEBIAN_13), 0);
	sys_file("module/kvm/parameters/allow_unsafe_mappings", "N\n");
	sys_file("module/kvm_intel/parameters/nested", "N\n");
	sys_file("module/kvm_amd/parameters/nested", "0\n");
	sys_file("kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	assert_int_equal(check(DEBIAN_13), 0);
	assert_string_equal(said, "");
}

static void unsafe_mappings_are_refused(void **state)
{
	(void)state;
	sys_file("module/kvm/parameters/allow_unsafe_mappings", "Y\n");
	assert_int_equal(check(BACKPORT), -EPERM);
	assert_non_null(strstr(said, "kvm.allow_unsafe_mappings is on"));
	assert_int_equal(check(DEBIAN_13), -EPERM);
}

static void a_kernel_that_flushes_wrongly_is_refused(void **state)
{
	(void)state;
	assert_int_equal(check("7.1.8-amd64"), 0);	/* no KVM */
	sys_file("module/kvm/parameters/halt_poll_ns", "200000\n");
	assert_int_equal(check("7.1.8-amd64"), -EPERM);
	assert_non_null(strstr(said, "7.1.9"));
	assert_int_equal(check("7.1.9-amd64"), 0);
}

static void nested_guests_are_refused(void **state)
{
	(void)state;
	sys_file("module/kvm_amd/parameters/nested", "1\n");
	assert_int_equal(check(DEBIAN_13), -EPERM);
	assert_non_null(strstr(said, "options kvm_amd nested=0"));
	assert_null(strstr(said, "kvm_intel"));
	sys_file("module/kvm_intel/parameters/nested", "Y\n");
	sys_file("module/kvm_amd/parameters/nested", "0\n");
	assert_int_equal(check("6.12"), -EPERM);
	assert_non_null(strstr(said, "options kvm_intel nested=0"));
	/* These refuse to keep such pages. */
	assert_int_equal(check("6.13.0"), 0);
	assert_string_equal(said, "");
	assert_int_equal(check(BACKPORT), 0);
	assert_string_equal(said, "");
}

static void encrypted_memory_is_refused(void **state)
{
	static const char amd[] = "processor\t: 0\nflags\t\t: fpu sme sev\nbugs\t\t: x\n";

	(void)state;
	/* The processor could, and nobody asked it to. */
	sys_file("cpuinfo", amd);
	sys_file("cmdline", "root=/dev/sda1 xmem_encrypt=on quiet\n");
	assert_int_equal(check(DEBIAN_13), 0);
	sys_file("cmdline", "mem_encrypt=on mem_encrypt=off\n");
	assert_int_equal(check(DEBIAN_13), 0);
	sys_file("cmdline", "mem_encrypt=off quiet mem_encrypt=on\n");
	assert_int_equal(check(BACKPORT), -EPERM);
	assert_non_null(strstr(said, "mem_encrypt=on"));
	/* It was asked for and is not there: no "sme", only a flag that begins so. */
	sys_file("cpuinfo", "flags\t\t: fpu smep sme_coherent\n");
	assert_int_equal(check(BACKPORT), 0);
	assert_string_equal(said, "");
}

static void a_confidential_host_is_refused(void **state)
{
	(void)state;
	sys_file("cpuinfo", "flags\t\t: fpu tdx_guest\n");
	assert_int_equal(check(BACKPORT), -EPERM);
	assert_non_null(strstr(said, "TDX"));
	sys_file("cpuinfo", "flags\t\t: fpu\n");
	sys_file("devices/system/cpu/sev/vmpl", "0\n");
	assert_int_equal(check(BACKPORT), -EPERM);
	assert_non_null(strstr(said, "SEV"));
}

static void small_pages_are_warned_of(void **state)
{
	(void)state;
	sys_file("kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
	assert_int_equal(check(DEBIAN_13), 0);
	assert_non_null(strstr(said, "transparent_hugepage=madvise"));
	assert_int_equal(check(BACKPORT), 0);
	assert_string_equal(said, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_plain_host_is_fine), T(unsafe_mappings_are_refused),
		T(a_kernel_that_flushes_wrongly_is_refused), T(nested_guests_are_refused),
		T(encrypted_memory_is_refused), T(a_confidential_host_is_refused), T(small_pages_are_warned_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
