// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the CLI makes of the daemon's answers: tables, frames of top, QEMU's
 * command line. No daemon: answers are written here.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../host/cli/grid.h"
#include "../../host/cli/qemu_args.h"
#include "../../host/cli/top_frame.h"
#include "../../host/cli/view.h"

static void tables(void **state)
{
	static const struct grid_column columns[] = { { "NAME", 0, 0 }, { "SIZE", 1, 0 }, { "WHY", 0, 0 } };
	static const char *const cells[] = { "a", "1", "", "bé", "12345", "long remark", "total", "2", "" };
	auto_grid struct grid *t = grid_new(columns, 3);
	char text[512] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		if (i == 6)
			grid_rule(t);
		grid_add(t, cells[i]);
	}
	assert_int_equal(grid_print(t, out, 0), 0);
	assert_int_equal(grid_print(t, out, 17), 0);
	fclose(out);
	assert_string_equal(text,
			    "NAME    SIZE  WHY\n"
			    "a          1\n"
			    "bé     12345  long remark\n"
			    "-------------------------\n"
			    "total      2\n"
			    "NAME    SIZE  WHY\n"
			    "a          1\n"
			    "bé     12345  lon\n"
			    "-----------------\n"
			    "total      2\n");
}

/* Narrow terminals lose the columns that matter least, never the amount at the end. */
static void tables_narrow(void **state)
{
	static const struct grid_column columns[] = {
		{ "VM", 0, 0 }, { "PLAN", 0, 1 }, { "HOURS", 1, 2 }, { "EUR", 1, 0 },
	};
	static const char *const cells[] = { "web1", "standard", "12", "0.500000" };
	auto_grid struct grid *t = grid_new(columns, 4);
	char text[512] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	for (size_t i = 0; i < 4; i++)
		grid_add(t, cells[i]);
	for (size_t width = 31; width >= 13; width -= 9)
		assert_int_equal(grid_print(t, out, width), 0);
	fclose(out);
	assert_string_equal(text,
			    "VM    PLAN      HOURS       EUR\n"
			    "web1  standard     12  0.500000\n"
			    "VM    HOURS       EUR\n"
			    "web1     12  0.500000\n"
			    "VM         EU\n"
			    "web1  0.50000\n");
}

static json_t *vm(const char *name, int resident, int committed, int touches)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:n, s:{}}",
			 "name", name, "uuid", name, "tenant", "acme", "plan", "standard",
			 "state", "running", "target-state", "none",
			 "resident-blocks", resident, "committed-blocks", committed,
			 "limit-blocks", 1024, "touches", touches, "waiting-touches", 0,
			 "target-blocks", "guest");
}

static struct top_snapshot snapshot(uint64_t boot_ns, json_t *vms)
{
	return (struct top_snapshot){
		.pool = json_pack("{s:i, s:i, s:i, s:i, s:b}", "pool-blocks", 4096, "lent-blocks", 1024,
				  "free-blocks", 3072, "limit-blocks", 8192, "ledger-behind", 0),
		.vms = vms, .boot_ns = boot_ns, .wall_ms = 1795221642000,
	};
}

static void drop(struct top_snapshot *s)
{
	json_decref(s->pool);
	json_decref(s->vms);
}

static void frame_of(char *text, size_t size, const struct top_snapshot *now,
		     const struct top_snapshot *before, const struct top_look *look, int vms)
{
	FILE *out = fmemopen(text, size, "w");

	assert_int_equal(top_frame(out, now, before, look), vms);
	fclose(out);
}

static void top_frames(void **state)
{
	struct top_snapshot before, now;
	struct top_look look = { .sort = TOP_BY_RESIDENT, .width = 80, .height = 23, .keys = true };
	char text[8192];

	(void)state;
	before = snapshot(1000000000, json_pack("[o, o]", vm("small", 128, 256, 10), vm("big", 256, 512, 0)));
	now = snapshot(2000000000, json_pack("[o, o, o]", vm("small", 64, 256, 10), vm("big", 768, 1024, 500),
					     vm("new", 100, 128, 7)));
	frame_of(text, sizeof(text), &now, &before, &look, 3);
	assert_non_null(strstr(text, "Pool 8.00 GiB  ######..................  lent 2.00 GiB (25 %)"));
	assert_non_null(strstr(text, "Sold 16.00 GiB in limits (200 %)"));
	assert_true(strstr(text, "\nbig") < strstr(text, "\nnew"));
	assert_true(strstr(text, "\nnew") < strstr(text, "\nsmall"));
	/* A second and a millisecond went by, for the rate. */
	assert_non_null(strstr(text, "+1022 MiB"));
	assert_non_null(strstr(text, "-126 MiB"));
	assert_non_null(strstr(text, "##########++++"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(grid_text_width(line) <= 80);
	look.sort = TOP_BY_NAME;
	frame_of(text, sizeof(text), &now, NULL, &look, 3);
	assert_true(strstr(text, "\nbig") < strstr(text, "\nnew"));
	assert_null(strstr(text, "+1022"));
	drop(&before);
	drop(&now);
}

static void top_shows_zeroing_where_there_is_some(void **state)
{
	struct top_snapshot now = snapshot(1, json_array());
	struct top_look look = { .sort = TOP_BY_NAME, .width = 80, .height = 12 };
	char text[8192];

	(void)state;
	frame_of(text, sizeof(text), &now, NULL, &look, 0);
	assert_null(strstr(text, "Zeroing"));
	json_object_update_new(now.pool, json_pack("{s:i, s:i, s:i, s:{s:s, s:i, s:I}}", "clean-blocks", 64,
						   "supply-blocks", 512, "dirty-blocks", 1024, "zeroing",
						   "engine", "CPU: clzero", "backlog-blocks", 100,
						   "bytes-per-second", (json_int_t)(3ULL << 29)));
	frame_of(text, sizeof(text), &now, NULL, &look, 0);
	assert_non_null(strstr(text, "\nZeroing 1.50 GiB/s, clean 128 MiB, supply 1.00 GiB, dirty 2.00 GiB, "
				     "due 200 MiB\n"));
	assert_null(strstr(text, "RETIRED"));
	assert_null(strstr(text, "Compacting"));
	json_object_update_new(now.pool, json_pack("{s:i, s:i, s:i, s:i, s:{s:b, s:i, s:i}}", "clean-blocks", 0,
						   "supply-blocks", 0, "waiting-touches", 3,
						   "retired-blocks", 2, "compaction", "running", 1,
						   "moved-blocks", 512, "whole-gib", 7));
	frame_of(text, sizeof(text), &now, NULL, &look, 0);
	assert_non_null(strstr(text, "\nZEROING LATE: 3 touches wait for a clean block\n"));
	assert_non_null(strstr(text, "\nRETIRED: 4 MiB after memory errors\n"));
	assert_non_null(strstr(text, "\nCompacting, 1.00 GiB moved so far, 7 GiB wholly free\n"));
	json_object_set_new(now.pool, "dirty-blocks", json_integer(0));
	frame_of(text, sizeof(text), &now, NULL, &look, 0);
	assert_non_null(strstr(text, "\nPOOL EMPTY: 3 touches wait for memory\n"));
	drop(&now);
}

static void top_fits_and_scrolls(void **state)
{
	struct top_snapshot now = snapshot(1, json_array());
	struct top_look look = { .sort = TOP_BY_NAME, .width = 40, .height = 12 };
	char text[65536], name[16];
	int lines = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "vm%02d", i);
		json_array_append_new(now.vms, vm(name, i, i, i));
	}
	frame_of(text, sizeof(text), &now, NULL, &look, 100);
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 12);
	assert_non_null(strstr(text, "vm00"));
	look.skip = 50;
	frame_of(text, sizeof(text), &now, NULL, &look, 100);
	assert_null(strstr(text, "vm49"));
	assert_non_null(strstr(text, "vm50"));
	look.skip = 1000;
	frame_of(text, sizeof(text), &now, NULL, &look, 100);
	json_array_clear(now.vms);
	frame_of(text, sizeof(text), &now, NULL, &look, 0);
	assert_non_null(strstr(text, "No VMs."));
	drop(&now);
}

static void remarks(void **state)
{
	static const struct { const char *key, *text; int number; const char *says; } cases[] = {
		{ "broken", "ring malformed", 0, "broken: ring malformed" },
		{ "waiting-touches", NULL, 1, "1 touch waiting for memory" },
		{ "waiting-touches", NULL, 3, "3 touches waiting for memory" },
		{ "state", "detached", 0, "QEMU's connection is down" },
		{ "target-blocks", NULL, 256, "target 512 MiB: no answer from the guest" },
	};
	char text[VIEW_TEXT_MAX];
	struct vm_view view;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = vm("x", 1, 1, 1);

		json_object_set_new(json, cases[i].key, cases[i].text ? json_string(cases[i].text) :
				    json_integer(cases[i].number));
		vm_view(json, &view);
		assert_string_equal(vm_remark(&view, 0, text), cases[i].says);
		json_decref(json);
	}
	view = (struct vm_view){ .name = "x", .state = "defined", .broken = "", .refused = "", .created_ms = 5000 };
	assert_string_equal(vm_remark(&view, 65000, text), "never started, waiting for its QEMU for 1 min 00 s");
	view.lapsed = true;
	assert_string_equal(vm_remark(&view, 65000, text),
			    "never started in 1 min 00 s: holds nothing until its QEMU comes");
	view.refused = "no room";
	assert_string_equal(vm_remark(&view, 65000, text),
			    "never started: its QEMU was refused, 'memlease status x' says why");
	/* Nonsense does no harm. */
	vm_view(NULL, &view);
	assert_string_equal(view.name, "");
	assert_string_equal(vm_remark(&view, 0, text), "");
	assert_int_equal(view_percent(1, 0), 0);
	assert_int_equal(view_percent(UINT64_MAX, UINT64_MAX), 100);
}

/* Of a guest that was heard of 5 s after the epoch. */
static void silences(void **state)
{
	struct vm_view view = { .state = "running", .broken = "", .target_state = "working", .has_target = true,
				.target_blocks = 256, .guest = { .known = true, .time_ms = 5000 } };
	char text[VIEW_TEXT_MAX];

	(void)state;
	assert_string_equal(vm_unheard(&view, 25000, text), "");
	assert_string_equal(vm_remark(&view, 25000, text), "target 512 MiB: shrinking");
	assert_string_equal(vm_unheard(&view, 65000, text),
			    "its guest has said nothing for 1 min 00 s: it sleeps, or it or its QEMU was stopped");
	assert_string_equal(vm_remark(&view, 65000, text), "target 512 MiB: no answer from the guest");
	view.waiting_touches = 1;
	assert_string_equal(vm_unheard(&view, 25000, text), "it stands still until there is memory for what it touched");
	view = (struct vm_view){ .state = "running" };
	assert_string_equal(vm_unheard(&view, 0, text), "its guest sends no statistics; has it the driver?");
}

static const struct vm_view a_vm = {
	.name = "web1", .uuid = "11111111-2222-4333-8444-555555555555",
	.boot_path = "/pool/a,b.boot", .window_path = "/pool/web1.window",
	.vhost_socket = "/run/vm/web1.vhost.sock", .qmp_socket = "/run/vm/web1.qmp.sock",
	.unstarted_path = "/run/v,m/web1.unstarted", .boot_blocks = 128, .window_blocks = 1408,
};

/* The word after an option, or NULL. */
static const char *value_of(const struct words *words, const char *option, const char *part)
{
	for (size_t i = 0; i + 1 < words->count; i++)
		if (!strcmp(words->v[i], option) && strstr(words->v[i + 1], part))
			return words->v[i + 1];
	return NULL;
}

static void qemu_with_kernel(void **state)
{
	char *extra[] = { "-device", "pvpanic", NULL };
	struct qemu_spec spec = {
		.qemu = "/opt/qemu", .cpus = 2, .kernel = "vmlinuz", .initrd = "initrd.img",
		.append = "quiet console=hvc0", .extra = extra,
	};
	auto_words struct words words = { 0 };

	(void)state;
	assert_int_equal(qemu_args(&a_vm, &spec, &words), 0);
	assert_string_equal(words.v[0], "/opt/qemu");
	assert_string_equal(value_of(&words, "-m", ""), "256M,maxmem=4096M");
	assert_string_equal(value_of(&words, "-machine", ""), "q35,memory-backend=mlboot");
	assert_string_equal(value_of(&words, "-accel", ""), "tcg,thread=multi");
	assert_string_equal(value_of(&words, "-object", "id=mlboot"),
			    "memory-backend-file,id=mlboot,size=256M,mem-path=/pool/a,,b.boot,share=on,align=2M,prealloc=off,reserve=off");
	assert_non_null(value_of(&words, "-object", "id=mlwindow,size=2816M"));
	/* The first of all: those behind it take the place of another QEMU's sockets. */
	assert_string_equal(value_of(&words, "-chardev", ""),
			    "file,id=once,path=/dev/null,input-path=/run/v,,m/web1.unstarted");
	assert_string_equal(value_of(&words, "-chardev", "memlease"),
			    "socket,id=memlease,path=/run/vm/web1.vhost.sock,reconnect-ms=200");
	assert_non_null(value_of(&words, "-device", "vhost-user-memlease-pci,"));
	assert_string_equal(value_of(&words, "-append", ""),
			    "quiet console=hvc0 memory_hotplug.memmap_on_memory=1 swiotlb=noforce");
	assert_string_equal(value_of(&words, "-serial", ""), "stdio");
	assert_null(value_of(&words, "-drive", ""));
	assert_string_equal(words.v[words.count - 1], "pvpanic");
}

static void qemu_aligns_whole_gib(void **state)
{
	struct qemu_spec spec = { .qemu = "q", .cpus = 1, .kernel = "k" };
	auto_words struct words words = { 0 };
	struct vm_view vm = a_vm;

	(void)state;
	vm.window_blocks = 1024;
	assert_int_equal(qemu_args(&vm, &spec, &words), 0);
	assert_non_null(strstr(value_of(&words, "-object", "id=mlboot"), ",align=2M,"));
	assert_non_null(strstr(value_of(&words, "-object", "id=mlwindow"), ",align=1G,"));
}

/* Pages of a guest's guest would go on being used after they were taken away. */
static void qemu_nests_no_guests_on_a_reserved_pool(void **state)
{
	struct qemu_spec spec = { .qemu = "q", .kvm = true, .cpus = 1, .kernel = "k" };
	auto_words struct words words = { 0 };
	struct vm_view vm = a_vm;

	(void)state;
	vm.boot_path = "/dev/memlease/7f9f-uuid.boot";
	assert_int_equal(qemu_args(&vm, &spec, &words), 0);
	assert_string_equal(value_of(&words, "-cpu", ""), "host,vmx=off,svm=off");
}

static void qemu_leaves_alone_what_was_set(void **state)
{
	char *extra[] = { "-serial", "file:x", "--display", "gtk", NULL };
	struct qemu_spec spec = {
		.qemu = "q", .kvm = true, .cpus = 1, .kernel = "k",
		.append = "memory_hotplug.memmap_on_memory=0 swiotlb=force xconsole=1", .extra = extra,
	};
	auto_words struct words words = { 0 };

	(void)state;
	assert_int_equal(qemu_args(&a_vm, &spec, &words), 0);
	assert_string_equal(value_of(&words, "-append", ""),
			    "memory_hotplug.memmap_on_memory=0 swiotlb=force xconsole=1 console=ttyS0");
	assert_null(value_of(&words, "-display", ""));
	assert_string_equal(value_of(&words, "-serial", ""), "file:x");
	assert_string_equal(value_of(&words, "-accel", ""), "kvm");
	assert_string_equal(value_of(&words, "-cpu", ""), "host");
}

static void qemu_with_disk(void **state)
{
	struct qemu_spec spec = {
		.qemu = "q", .cpus = 1, .disk = "a,b.qcow2", .disk_format = "qcow2", .detach = true, .console_log = 12,
	};
	auto_words struct words words = { 0 };

	(void)state;
	assert_int_equal(qemu_args(&a_vm, &spec, &words), 0);
	assert_non_null(value_of(&words, "-drive", "file=a,,b.qcow2,"));
	assert_non_null(value_of(&words, "-drive", "cache=writeback"));
	assert_non_null(value_of(&words, "-netdev", "user"));
	assert_non_null(value_of(&words, "-chardev", "path=/run/vm/web1.console.sock,server=on,wait=off,logfile=/dev/fdset/99"));
	assert_string_equal(value_of(&words, "-add-fd", ""), "fd=12,set=99");
	assert_string_equal(value_of(&words, "-serial", ""), "chardev:console");
	assert_null(value_of(&words, "-append", ""));
}

static void disk_formats(void **state)
{
	char path[] = "/tmp/test_cli_view.XXXXXX";
	int fd = mkstemp(path);
	const char *format = NULL;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(qemu_disk_format(path, &format), -EINVAL);
	assert_int_equal(write(fd, "QFI\xfb....", 8), 8);
	assert_int_equal(qemu_disk_format(path, &format), 0);
	assert_string_equal(format, "qcow2");
	assert_int_equal(pwrite(fd, "\xebXYZ", 4, 0), 4);
	assert_int_equal(qemu_disk_format(path, &format), 0);
	assert_string_equal(format, "raw");
	close(fd);
	unlink(path);
	assert_int_equal(qemu_disk_format(path, &format), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables), cmocka_unit_test(tables_narrow),
		cmocka_unit_test(top_frames),
		cmocka_unit_test(top_shows_zeroing_where_there_is_some), cmocka_unit_test(top_fits_and_scrolls),
		cmocka_unit_test(remarks), cmocka_unit_test(silences), cmocka_unit_test(qemu_with_kernel),
		cmocka_unit_test(qemu_nests_no_guests_on_a_reserved_pool),
		cmocka_unit_test(qemu_aligns_whole_gib),
		cmocka_unit_test(qemu_leaves_alone_what_was_set), cmocka_unit_test(qemu_with_disk),
		cmocka_unit_test(disk_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
