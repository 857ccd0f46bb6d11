// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease list: one line per VM.
 */
#include <stdio.h>
#include <string.h>

#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "grid.h"
#include "units.h"
#include "verb.h"
#include "view.h"

static const struct grid_column columns[] = {
	{ "NAME", 0, 0 }, { "TENANT", 0, 3 }, { "PLAN", 0, 1 }, { "STATE", 0, 4 }, { "RESIDENT", 1, 0 },
	{ "COMMITTED", 1, 0 }, { "LIMIT", 1, 0 }, { "GUARANTEE", 1, 2 }, { "REMARK", 0, 0 },
};

static void add_size(struct grid *t, uint64_t blocks)
{
	char text[SIZE_TEXT_MAX];

	grid_add(t, size_format_blocks(blocks, text));
}

static void add_vm_cells(struct grid *t, const struct vm_view *vm)
{
	char remark[VIEW_TEXT_MAX];

	grid_add(t, vm->name);
	grid_add(t, vm->tenant);
	grid_add(t, vm->plan);
	grid_add(t, vm->state);
	add_size(t, vm->resident_blocks);
	add_size(t, vm->committed_blocks);
	add_size(t, vm->limit_blocks);
	add_size(t, vm->guarantee_blocks);
	grid_add(t, vm_remark(vm, ml_wall_ms(&ml_clock_real), remark));
}

static int print_names(const json_t *vms)
{
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		printf("%s\n", cli_text(vm, "name"));
	return CLI_OK;
}

static int print_table(const json_t *vms, const char *tenant)
{
	auto_grid struct grid *t = grid_new(columns, sizeof(columns) / sizeof(columns[0]));
	struct vm_view vm;
	json_t *json;
	size_t i;

	if (!t)
		return CLI_FAILED;
	json_array_foreach(vms, i, json) {
		vm_view(json, &vm);
		add_vm_cells(t, &vm);
	}
	if (!json_array_size(vms)) {
		if (tenant)
			printf("Tenant '%s' has no VM.\n", tenant);
		else
			printf("No VMs. 'memlease run --help' tells how to start one.\n");
		return CLI_OK;
	}
	return grid_print(t, stdout, grid_terminal_width(stdout)) ? CLI_FAILED : CLI_OK;
}

/* Leaves the VMs of this tenant. Before anything is printed, so that every form of the list is cut. */
static void keep_tenant(json_t *vms, const char *tenant)
{
	for (size_t i = json_array_size(vms); i-- > 0; ) {
		const char *of = json_string_value(json_object_get(json_array_get(vms, i), "tenant"));

		if (!of || strcmp(of, tenant))
			json_array_remove(vms, i);
	}
}

struct options {
	const char *socket, *tenant;
	bool json, names;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_list, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *vms = NULL;

	if (answer)
		return args_exit(answer);
	if (o.names && o.json) {
		cli_error("list: --names and --json contradict each other; give one of them");
		return CLI_USAGE;
	}
	c = cli_connect(o.socket);
	if (!c)
		return CLI_FAILED;
	vms = cli_call(c, "query-vms", NULL);
	if (!vms)
		return CLI_FAILED;
	if (o.tenant)
		keep_tenant(vms, o.tenant);
	if (o.names)
		return print_names(vms);
	return o.json ? cli_print_json(vms) : print_table(vms, o.tenant);
}

static const struct arg_opt opts[] = {
	{ .name = "tenant", .kind = ARG_TEXT, .at = AT(tenant), .value = "TENANT",
	  .help = "only the VMs of this tenant" },
	{ .name = "names", .kind = ARG_FLAG, .at = AT(names),
	  .help = "print nothing but the names" },
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_list = {
	.name = "list", .brief = "the VMs, a line each",
	.synopsis = "[--tenant TENANT] [--names | --json]",
	.about = "List the VMs with their memory: resident is what the host holds for a VM now\nand what is billed; committed is what the guest may touch.",
	ARG_OPTS(opts), .run = run,
};
