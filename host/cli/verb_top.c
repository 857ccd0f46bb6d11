// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease top: pool and VMs, live in the terminal; frames one after the other
 * where there is no terminal.
 */
#include <errno.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/clock.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "top_frame.h"
#include "verb.h"

#define CALL_TIMEOUT_MS 5000
#define INTERVAL_MIN_MS 100
#define SCREEN_ENTER "\033[?1049h\033[?25l"
#define SCREEN_LEAVE "\033[?25h\033[?1049l"
#define SCREEN_HOME "\033[H"
#define SCREEN_LINE_CLEAR "\033[K"
#define SCREEN_REST_CLEAR "\033[J"

struct top {
	const char *socket;
	struct qmp *c;		/* or NULL while the daemon is away */
	struct top_snapshot now, before;
	struct top_look look;
	struct ml_why trouble;
	int64_t interval_ms;
	int64_t frames_left;	/* -1: without end */
	bool json;
	size_t vms;
};

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static void on_resize(int signal)
{
	(void)signal;
}

static void catch_signals(void)
{
	struct sigaction stop = { .sa_handler = on_stop }, resize = { .sa_handler = on_resize };

	/* Without SA_RESTART: poll() must notice. */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGWINCH, &resize, NULL);
}

static void snapshot_clear(struct top_snapshot *s)
{
	json_decref(s->pool);
	json_decref(s->vms);
	*s = (struct top_snapshot){ 0 };
}

/* Fetch the next snapshot; -errno with trouble set. */
static int fetch(struct top *t)
{
	struct top_snapshot next = { 0 };
	char buf[4096];
	int err = 0;

	if (!t->c)
		err = qmp_open(cli_socket_path(t->socket, buf, sizeof(buf)), CALL_TIMEOUT_MS, &t->c, &t->trouble);
	if (err)
		return err;
	err = qmp_call(t->c, "query-pool", NULL, CALL_TIMEOUT_MS, &next.pool);
	if (!err)
		err = qmp_call(t->c, "query-vms", NULL, CALL_TIMEOUT_MS, &next.vms);
	if (err) {
		ml_refuse(&t->trouble, 0, "%s", qmp_error(t->c));
		qmp_close(t->c);
		t->c = NULL;
		snapshot_clear(&next);
		return err;
	}
	next.boot_ns = ml_boot_ns(&ml_clock_real);
	next.wall_ms = ml_wall_ms(&ml_clock_real);
	snapshot_clear(&t->before);
	t->before = t->now;
	t->now = next;
	return 0;
}

static int print_json(const struct top *t)
{
	json_t *frame = json_pack("{s:I, s:O, s:O}", "time", (json_int_t)t->now.wall_ms,
				  "pool", t->now.pool, "vms", t->now.vms);

	json_dumpf(frame, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(frame);
	return 0;
}

static int print_frame(struct top *t, FILE *out)
{
	int vms = top_frame(out, &t->now, t->before.pool ? &t->before : NULL, &t->look);

	if (vms >= 0)
		t->vms = (size_t)vms;
	return vms < 0 ? vms : 0;
}

/* --- one frame after the other --- */

static int batch(struct top *t)
{
	while (!stopped && t->frames_left) {
		if (fetch(t)) {
			cli_error("top: %s", t->trouble.text);
			return CLI_FAILED;
		}
		if (t->json)
			print_json(t);
		else if (print_frame(t, stdout))
			return CLI_FAILED;
		if (t->frames_left > 0)
			t->frames_left--;
		if (t->frames_left && !t->json)
			putchar('\n');
		if (cli_flush())
			return CLI_FAILED;
		if (t->frames_left)
			poll(NULL, 0, (int)t->interval_ms);
	}
	return CLI_OK;
}

/* --- full screen --- */

static void fit_screen(struct top *t)
{
	struct winsize size;

	t->look.width = 80;
	t->look.height = 24;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row) {
		t->look.width = size.ws_col;
		t->look.height = size.ws_row;
	}
	/* The last line stays empty, or the screen would scroll. */
	t->look.height--;
}

/* Lines of text to the screen, without flicker: nothing is cleared before it is drawn over. */
static void draw(const char *text)
{
	fputs(SCREEN_HOME, stdout);
	for (const char *line = text; *line; ) {
		size_t len = strcspn(line, "\n");

		/* Clear before writing: after a full line of text, clearing would erase its last column. */
		fputs(SCREEN_LINE_CLEAR, stdout);
		fwrite(line, 1, len, stdout);
		fputc('\n', stdout);
		line += len + (line[len] == '\n');
	}
	fputs(SCREEN_REST_CLEAR, stdout);
	cli_flush();
}

static int draw_frame(struct top *t)
{
	ml_autofree char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int err = 0;

	if (!out)
		return -ENOMEM;
	fit_screen(t);
	if (t->c)
		err = print_frame(t, out);
	else
		fprintf(out, "memlease  no answer from the daemon; trying again\n\n%.*s\n",
			(int)t->look.width, t->trouble.text);
	if (fclose(out))
		return -ENOMEM;
	if (!err)
		draw(text);
	return err;
}

static void scroll(struct top *t, int by)
{
	if (by < 0)
		t->look.skip -= t->look.skip > 0;
	else if (t->look.skip + 1 < t->vms)
		t->look.skip++;
}

static void press(struct top *t, char key)
{
	static const char sorts[] = { 'r', 'c', 'l', 't', 'w', 'n' };
	const char *at = memchr(sorts, key, sizeof(sorts));

	if (at)
		t->look.sort = (enum top_sort)(at - sorts);
	else if (key == 'j')
		scroll(t, 1);
	else if (key == 'k')
		scroll(t, -1);
	else if (key == 'q' || key == 3 || key == 4)
		stopped = 1;
}

/* Keys as they come; arrows are an escape, a bracket and a letter. */
static void take_keys(struct top *t)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n == 0 || (n < 0 && errno != EINTR))
		stopped = 1;
	for (ssize_t i = 0; i < n; i++) {
		if (keys[i] == '\033' && i + 2 < n && keys[i + 1] == '[') {
			if (keys[i + 2] == 'A' || keys[i + 2] == 'B')
				scroll(t, keys[i + 2] == 'A' ? -1 : 1);
			i += 2;
			continue;
		}
		press(t, keys[i]);
	}
}

static int live_loop(struct top *t)
{
	while (!stopped && t->frames_left) {
		uint64_t end = ml_boot_ns(&ml_clock_real) + (uint64_t)t->interval_ms * 1000000;

		fetch(t);
		if (t->frames_left > 0)
			t->frames_left--;
		for (;;) {
			struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
			uint64_t now;

			if (draw_frame(t))
				return CLI_FAILED;
			now = ml_boot_ns(&ml_clock_real);
			if (stopped || now >= end)
				break;
			if (poll(&p, 1, (int)((end - now) / 1000000) + 1) > 0)
				take_keys(t);
			else if (ml_boot_ns(&ml_clock_real) >= end)
				break;
		}
	}
	return CLI_OK;
}

static int live(struct top *t)
{
	struct termios before, raw;
	int status;

	if (tcgetattr(STDIN_FILENO, &before))
		return batch(t);
	/* A daemon that is not there at the start is a mistake, later it may be a restart. */
	if (fetch(t)) {
		cli_error("top: %s; is memleased running? --socket or MEMLEASE_SOCKET name its socket", t->trouble.text);
		return CLI_FAILED;
	}
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs(SCREEN_ENTER, stdout);
	status = live_loop(t);
	fputs(SCREEN_LEAVE, stdout);
	cli_flush();
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return status;
}

static enum top_sort sort_by_name(const char *name)
{
	int sort = 0;

	while (name && sort < TOP_SORTS && strcmp(top_sort_names[sort], name))
		sort++;
	return (enum top_sort)sort;
}

struct options {
	const char *socket, *sort;
	struct arg_number interval, count;
	bool batch, json;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { .interval = { false, 1000 }, .count = { false, -1 } };
	int answer = args_parse(&verb_top, argc, argv, &o), status;
	struct top t = { 0 };

	if (answer)
		return args_exit(answer);
	if (o.interval.value < INTERVAL_MIN_MS) {
		cli_error("top: --interval is %d ms; it must be at least %d ms", (int)o.interval.value,
			  INTERVAL_MIN_MS);
		return CLI_USAGE;
	}
	if (o.json && o.sort) {
		cli_error("top: --sort is for the table; JSON has the VMs in the daemon's order");
		return CLI_USAGE;
	}
	t.socket = o.socket;
	t.json = o.json;
	t.interval_ms = o.interval.value;
	t.frames_left = o.count.value;
	t.look = (struct top_look){ .sort = sort_by_name(o.sort ? o.sort : "resident"),
				    .utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8") };
	catch_signals();
	if (t.json || o.batch || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
		status = batch(&t);
	} else {
		t.look.keys = true;
		status = live(&t);
	}
	snapshot_clear(&t.now);
	snapshot_clear(&t.before);
	qmp_close(t.c);
	return status;
}

static const struct arg_opt opts[] = {
	{ .name = "sort", .kind = ARG_TEXT, .at = AT(sort), .value = "KEY",
	  .choices = top_sort_names,
	  .help = "resident, committed, limit, touches, waits or name" },
	{ .name = "interval", .kind = ARG_SPAN, .at = AT(interval), .value = "TIME",
	  .help = "time between frames, 1s unless given" },
	{ .name = "count", .kind = ARG_INT, .at = AT(count), .value = "N", .min = 1,
	  .max = INT32_MAX, .help = "stop after N frames" },
	{ .name = "batch", .kind = ARG_FLAG, .at = AT(batch),
	  .help = "print frames one after the other" },
	{ .name = "json", .kind = ARG_FLAG, .at = AT(json),
	  .help = "print JSON, a line per frame" },
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_top = {
	.name = "top", .brief = "live view of pool and VMs",
	.synopsis = "[--interval TIME] [--count N] ([--sort KEY] [--batch] | --json)",
	.about = "Watch pool and VMs, live. Keys: q quits; r c l t w n sort by resident, committed,\nlimit, touches, waits or name; j k or the arrows scroll.",
	ARG_OPTS(opts), .run = run,
};
