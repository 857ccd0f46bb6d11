// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease list: one line per VM.
 */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "cli.h"
#include "units.h"
#include "grid.h"
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

static void add_vm(struct grid *t, const struct vm_view *vm)
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
	grid_add(t, vm_remark(vm, remark));
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
	size_t i, shown = 0;
	json_t *json;

	if (!t)
		return CLI_FAILED;
	json_array_foreach(vms, i, json) {
		vm_view(json, &vm);
		if (tenant && strcmp(tenant, vm.tenant))
			continue;
		add_vm(t, &vm);
		shown++;
	}
	if (!shown) {
		if (tenant)
			printf("Tenant '%s' has no VM.\n", tenant);
		else
			printf("No VMs. 'memlease run --help' tells how to start one.\n");
		return CLI_OK;
	}
	return grid_print(t, stdout, grid_terminal_width(stdout)) ? CLI_FAILED : CLI_OK;
}

int verb_list(int argc, char **argv)
{
	const char *socket = NULL, *tenant = NULL;
	bool json = false, names = false;
	const struct arg_opt opts[] = {
		{ .name = "tenant", .kind = ARG_TEXT, .to = &tenant, .value = "TENANT",
		  .help = "only the VMs of this tenant" },
		{ .name = "names", .kind = ARG_FLAG, .to = &names, .help = "print nothing but the names" },
		CLI_OPT_JSON(&json),
		CLI_OPT_SOCKET(&socket),
	};
	const struct arg_spec spec = {
		.verb = "list", .synopsis = "[--tenant TENANT] [--json]",
		.about = "List the VMs with their memory: resident is what the host holds for a VM now\nand what is billed; committed is what the guest may touch.",
		.opts = opts, .opt_count = sizeof(opts) / sizeof(opts[0]),
	};
	int answer = args_parse(&spec, argc, argv);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *vms = NULL;

	if (answer)
		return cli_args_exit(answer);
	c = cli_connect(socket);
	if (!c)
		return CLI_FAILED;
	vms = cli_call(c, "query-vms", NULL);
	if (!vms)
		return CLI_FAILED;
	if (names)
		return print_names(vms);
	if (!json)
		return print_table(vms, tenant);
	for (size_t i = json_array_size(vms); tenant && i-- > 0; ) {
		const char *of = json_string_value(json_object_get(json_array_get(vms, i), "tenant"));

		if (!of || strcmp(of, tenant))
			json_array_remove(vms, i);
	}
	return cli_print_json(vms);
}
