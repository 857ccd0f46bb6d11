// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls to the daemon that complain by themselves; see ask.h. */
#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/terms.h"
#include "exit.h"
#include "suggest.h"

#define SUGGEST_VMS_MAX 1024
#define DAEMON_STUCK "; is the daemon stuck? its log may say"

const char *cli_socket_path(const char *given, char *buf, size_t size)
{
	const char *env = getenv("MEMLEASE_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");

	if (given)
		return given;
	if (env && *env)
		return env;
	if (geteuid() && runtime && *runtime) {
		snprintf(buf, size, "%s/" ML_RUN_SUBDIR "/" ML_CONTROL_SOCKET, runtime);
		if (!access(buf, F_OK))
			return buf;
	}
	return ML_RUN_DIR "/" ML_CONTROL_SOCKET;
}

struct qmp *cli_connect(const char *socket)
{
	char buf[4096];
	struct ml_why why;
	const char *path = cli_socket_path(socket, buf, sizeof(buf));
	struct qmp *c = NULL;
	int err = qmp_open(path, CLI_CALL_TIMEOUT_MS, &c, &why);

	if (!err)
		return c;
	if (err == -ENOENT || err == -ECONNREFUSED)
		cli_error("no daemon listens at %s; start memleased, or name its socket by --socket or MEMLEASE_SOCKET",
			  path);
	else if (err == -EACCES)
		cli_error("%s; it is the daemon's user who may use it, try as root", why.text);
	else
		cli_error("%s%s", why.text, err == -ETIMEDOUT ? DAEMON_STUCK : "");
	return NULL;
}

/* There is no VM `name`: say so, and which one may be meant. */
static void complain_no_vm(struct qmp *c, const char *name)
{
	const char *names[SUGGEST_VMS_MAX], *near;
	auto_json json_t *vms = NULL;
	size_t i, count = 0;
	json_t *vm;

	if (qmp_call(c, "query-vms", NULL, CLI_CALL_TIMEOUT_MS, &vms)) {
		cli_error("there is no VM '%s'", name);
		return;
	}
	json_array_foreach(vms, i, vm) {
		const char *known = json_string_value(json_object_get(vm, "name"));

		if (known && count < SUGGEST_VMS_MAX)
			names[count++] = known;
	}
	near = suggest(name, names, count);
	if (near)
		cli_error("there is no VM '%s'; did you mean '%s'?", name, near);
	else if (count)
		cli_error("there is no VM '%s'; 'memlease list' shows those there are", name);
	else
		cli_error("there is no VM '%s', nor any other; 'memlease run' starts one", name);
}

/* The daemon's complaint, which begins with its command's name, in the name of the verb. */
static void pass_on(const char *command, const char *text, int err)
{
	size_t len = strlen(command);

	if (!strncmp(text, command, len) && !strncmp(text + len, ": ", 2))
		text += len + 2;
	cli_error("%s: %s%s", cli_verb, text, err == -ETIMEDOUT ? DAEMON_STUCK : "");
}

json_t *cli_call_timeout(struct qmp *c, const char *command, json_t *arguments, int timeout_ms)
{
	auto_json json_t *kept = json_incref(arguments);
	const char *name = json_string_value(json_object_get(kept, "name"));
	json_t *ret = NULL;
	int err = qmp_call(c, command, arguments, timeout_ms, &ret);

	if (!err)
		return ret;
	if (name && !strcmp(qmp_error_class(c), "DeviceNotFound"))
		complain_no_vm(c, name);
	else
		pass_on(command, qmp_error(c), err);
	return NULL;
}

json_t *cli_call(struct qmp *c, const char *command, json_t *arguments)
{
	return cli_call_timeout(c, command, arguments, CLI_CALL_TIMEOUT_MS);
}

json_t *cli_name_args(const char *name)
{
	json_t *args = json_pack("{s:s}", "name", name);

	/* Not UTF-8: no VM can have that name, and the daemon will say so. */
	return args ? args : json_pack("{s:s}", "name", "\xef\xbf\xbd");
}
