// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QMP's wire format from the client's side: a line of JSON each way. Called by
 * the verbs. Does not trust the server: messages are bounded, waits too.
 */
#include "qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/clock.h"

#define READ_CHUNK_BYTES 65536
#define CONNECT_POLL_US 20000

struct qmp {
	int fd;
	char *buf;			/* what came and was not yet a whole line */
	size_t len, size;
	size_t scanned;			/* up to here there is no newline */
	json_t *events;			/* array, oldest first */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct ml_why error;
	char error_class[64];
};

__attribute__((format(printf, 3, 4)))
static int qmp_fail(struct qmp *c, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error.text, sizeof(c->error.text), fmt, ap);
	va_end(ap);
	c->error_class[0] = '\0';
	return err;
}

/* The moment a wait ends; UINT64_MAX for never. */
static uint64_t deadline_ns(int timeout_ms)
{
	if (timeout_ms < 0)
		return UINT64_MAX;
	return ml_boot_ns(&ml_clock_real) + (uint64_t)timeout_ms * 1000000;
}

static int wait_for(struct qmp *c, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	uint64_t now = ml_boot_ns(&ml_clock_real);
	int ms = -1, n;

	if (deadline != UINT64_MAX)
		ms = now >= deadline ? 0 : (int)((deadline - now + 999999) / 1000000);
	n = poll(&p, 1, ms);
	if (n < 0)
		return errno == EINTR ? -EINTR : qmp_fail(c, -errno, "%s: %s", c->path,
							  strerror(errno));
	if (!n)
		return qmp_fail(c, -ETIMEDOUT, "%s: no answer in time", c->path);
	return 0;
}

/* Read once into the buffer. */
static int read_more(struct qmp *c, uint64_t deadline)
{
	ssize_t n;
	int err = wait_for(c, POLLIN, deadline);

	if (err)
		return err;
	if (c->size - c->len < READ_CHUNK_BYTES) {
		size_t size = c->size ? 2 * c->size : 2 * READ_CHUNK_BYTES;
		char *buf;

		if (size > 2 * QMP_MESSAGE_MAX_BYTES)
			return qmp_fail(c, -EPROTO, "%s: a message of more than %d bytes", c->path,
					QMP_MESSAGE_MAX_BYTES);
		buf = realloc(c->buf, size);
		if (!buf)
			return qmp_fail(c, -ENOMEM, "out of memory");
		c->buf = buf;
		c->size = size;
	}
	n = recv(c->fd, c->buf + c->len, c->size - c->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return qmp_fail(c, -ECONNRESET, "%s: %s", c->path, strerror(errno));
	if (!n)
		return qmp_fail(c, -ECONNRESET, "%s: the other side closed the connection",
				c->path);
	c->len += (size_t)n;
	return 0;
}

/* The next message; -ETIMEDOUT, -EINTR when a signal came while waiting. */
static int read_message(struct qmp *c, uint64_t deadline, json_t **message)
{
	json_error_t error;
	char *newline;
	size_t line;
	int err;

	while (!(newline = c->len > c->scanned ?
		 memchr(c->buf + c->scanned, '\n', c->len - c->scanned) : NULL)) {
		c->scanned = c->len;
		err = read_more(c, deadline);
		if (err)
			return err;
	}
	line = (size_t)(newline - c->buf) + 1;
	*message = json_loadb(c->buf, line, 0, &error);
	memmove(c->buf, c->buf + line, c->len - line);
	c->len -= line;
	c->scanned = 0;
	if (!*message || !json_is_object(*message)) {
		json_decref(*message);
		return qmp_fail(c, -EPROTO,
				"%s: this is no control socket, it does not answer in QMP's format",
				c->path);
	}
	return 0;
}

static int write_all(struct qmp *c, const char *data, size_t len, uint64_t deadline)
{
	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int err;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return qmp_fail(c, -ECONNRESET, "%s: %s", c->path, strerror(errno));
		err = wait_for(c, POLLOUT, deadline);
		if (err && err != -EINTR)
			return err;
	}
	return 0;
}

static void keep_event(struct qmp *c, json_t *event)
{
	if (json_array_size(c->events) == QMP_EVENTS_MAX)
		json_array_remove(c->events, 0);
	json_array_append(c->events, event);
}

static int send_command(struct qmp *c, const char *command, json_t *arguments, uint64_t deadline)
{
	json_t *message = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
	ml_autofree char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	ml_autofree char *line = NULL;
	int len;

	json_decref(message);
	if (!text)
		return qmp_fail(c, -EINVAL, "%s: an argument is not UTF-8", command);
	len = asprintf(&line, "%s\n", text);
	if (len < 0) {
		line = NULL;
		return qmp_fail(c, -ENOMEM, "out of memory");
	}
	return write_all(c, line, (size_t)len, deadline);
}

/* message is an answer: hand over what it returned, or its error. */
static int take_answer(struct qmp *c, json_t *message, json_t **ret)
{
	json_t *error = json_object_get(message, "error");
	const char *desc, *class;

	*ret = json_object_get(message, "return");
	if (*ret) {
		json_incref(*ret);
		return 0;
	}
	desc = json_string_value(json_object_get(error, "desc"));
	class = json_string_value(json_object_get(error, "class"));
	if (!desc || !class)
		return qmp_fail(c, -EPROTO, "%s: an answer that is neither a result nor an error",
				c->path);
	qmp_fail(c, 0, "%s", desc);
	snprintf(c->error_class, sizeof(c->error_class), "%s", class);
	return -EREMOTEIO;
}

int qmp_call(struct qmp *c, const char *command, json_t *arguments, int timeout_ms,
		json_t **ret)
{
	uint64_t deadline = deadline_ns(timeout_ms);
	json_t *message;
	int err = send_command(c, command, arguments, deadline);

	*ret = NULL;
	while (!err) {
		err = read_message(c, deadline, &message);
		if (err == -EINTR) {
			err = 0;
			continue;
		}
		if (err)
			break;
		if (json_object_get(message, "event")) {
			keep_event(c, message);
			json_decref(message);
			continue;
		}
		err = take_answer(c, message, ret);
		json_decref(message);
		return err;
	}
	return err;
}

int qmp_event(struct qmp *c, int timeout_ms, json_t **event)
{
	uint64_t deadline = deadline_ns(timeout_ms);
	json_t *message;
	int err;

	if (json_array_size(c->events)) {
		*event = json_incref(json_array_get(c->events, 0));
		json_array_remove(c->events, 0);
		return 0;
	}
	for (;;) {
		err = read_message(c, deadline, &message);
		if (err == -ETIMEDOUT || err == -EINTR)
			return -EAGAIN;
		if (err)
			return err;
		if (json_object_get(message, "event")) {
			*event = message;
			return 0;
		}
		json_decref(message);
	}
}

const char *qmp_error(const struct qmp *c)
{
	return c->error.text;
}

const char *qmp_error_class(const struct qmp *c)
{
	return c->error_class;
}

static int negotiate(struct qmp *c, int timeout_ms)
{
	json_t *message = NULL;
	int err;

	do {
		err = read_message(c, deadline_ns(timeout_ms), &message);
	} while (err == -EINTR);
	if (err)
		return err;
	if (!json_object_get(message, "QMP"))
		err = qmp_fail(c, -EPROTO,
			       "%s: this is no control socket, it does not greet as QMP does",
			       c->path);
	json_decref(message);
	if (err)
		return err;
	err = qmp_call(c, "qmp_capabilities", NULL, timeout_ms, &message);
	json_decref(message);
	return err;
}

/* Where as many wait already as the other side has places for, one more waits until it takes them. */
static int connect_by(struct qmp *c, const struct sockaddr_un *addr, uint64_t deadline)
{
	while (connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		if (errno != EAGAIN && errno != EINTR)
			return qmp_fail(c, -errno, "%s: %s", c->path, strerror(errno));
		if (ml_boot_ns(&ml_clock_real) >= deadline)
			return qmp_fail(c, -ETIMEDOUT, "%s: no answer in time", c->path);
		usleep(CONNECT_POLL_US);
	}
	return 0;
}

static int connect_to(struct qmp *c, const char *path, int timeout_ms)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return qmp_fail(c, -ENAMETOOLONG,
				"'%s' cannot be a socket's path: it must have 1 to %zu bytes", path,
				sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	strcpy(c->path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return qmp_fail(c, -errno, "socket: %s", strerror(errno));
	return connect_by(c, &addr, deadline_ns(timeout_ms));
}

int qmp_open(const char *path, int timeout_ms, struct qmp **out, struct ml_why *why)
{
	auto_qmp struct qmp *c = calloc(1, sizeof(*c));
	int err;

	ml_refuse(why, -ENOMEM, "out of memory");
	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->events = json_array();
	if (!c->events)
		return -ENOMEM;
	err = connect_to(c, path, timeout_ms);
	if (!err)
		err = negotiate(c, timeout_ms);
	if (err) {
		*why = c->error;
		return err;
	}
	*out = ml_steal_ptr(c);
	return 0;
}

void qmp_close(struct qmp *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	json_decref(c->events);
	free(c->buf);
	free(c);
}
