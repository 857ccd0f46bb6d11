/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clients of the control socket, and what is sent to them: answers, errors, events,
 * within bounds. One that does not read is cut off. What they ask for is session.c's.
 */
#ifndef ML_CTL_CLIENT_H
#define ML_CTL_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "wire.h"

#define CTL_CLIENTS_MAX 64
#define CTL_CLIENTS_RESERVED 8		/* of them, for root */
#define CTL_CLIENTS_OF_UID_MAX 28	/* of one user, who is not root */
#define CTL_EVENT_PRIORITY 100		/* of sd-event; the default is 0, and goes first */
#define CTL_OUT_PAUSE_BYTES (64 << 10)	/* above this a client is not listened to */
#define CTL_OUT_MAX_BYTES (16 << 20)	/* above this a client is cut off */
#define CTL_OUT_TOTAL_BYTES (64 << 20)	/* above this, over all clients, the largest is */

struct ctl_client;
struct ctl_sessions;

/* All of them. */
struct ctl_clients {
	struct ctl_client *at[CTL_CLIENTS_MAX];
	size_t count;
	uint64_t next_serial;
	size_t out_total;		/* bytes pending over all clients */
	sd_event_source *reaper;	/* frees those that are doomed, after the turn */
	/* Called when a client goes that waits for an answer; may be NULL. */
	void (*left)(void *ctx, uint64_t serial);
	void *left_ctx;
};

struct ctl_client {
	struct ctl_clients *all;
	struct ctl_sessions *sessions;	/* session.c's, as the sources are */
	int fd;
	uid_t uid;
	uint64_t serial;	/* never used again; names the client to bill jobs */
	sd_event_source *io, *again, *deadline;
	struct wire_in in;
	struct wire_out out;
	bool negotiated;
	bool waiting;		/* for a bill query; no other command is begun */
	bool eof;		/* it sends no more */
	bool doomed;		/* to be freed at the end of the turn */
	char *waiting_id;	/* id of the command that waits, or NULL */
};

/* Make the reaper. 0 or sd-event's errors. */
int clients_init(struct ctl_clients *all, sd_event *event);
/* Frees every client. */
void clients_done(struct ctl_clients *all);
/* NULL: it is gone. */
struct ctl_client *clients_find(const struct ctl_clients *all, uint64_t serial);

/* How many a user has. */
size_t clients_of(const struct ctl_clients *all, uid_t uid);

/* A new connection, without sources; there must be room. fd is taken. -ENOMEM. */
int client_new(struct ctl_client **out, struct ctl_clients *all, int fd);
void client_free(struct ctl_client *client);

/* Cut a client off once its turn is over. */
void client_doom(struct ctl_client *client);

/* Queue bytes (a whole message) and write what goes; cuts the client off at its bound. */
void client_send(struct ctl_client *client, const char *text, size_t len);
/* Write what goes of what is queued. */
void client_flush(struct ctl_client *client);

/* Send a message from reply.h and free it; NULL (out of memory) cuts the client off. */
void client_send_line(struct ctl_client *client, char *line);

/* The answer to a command: result is JSON text, id that of the command, as ASCII, or NULL. */
void client_return(struct ctl_client *client, const char *result, const char *id);
/* As reply_error(). */
void client_send_error(struct ctl_client *client, const char *error_class, const char *desc,
		       const char *id);

/* A command was begun whose answer comes later; id is taken, and may be NULL. */
void client_wait(struct ctl_client *client, char *id);
/*
 * That answer: result is JSON text, or NULL and then desc says why not. The client's next
 * command is looked at in the next turn of the event loop.
 */
void client_answer_later(struct ctl_client *client, const char *result, const char *error_class,
			 const char *desc);

/* What the event loop shall wake us for, after anything changed. */
void client_update_interest(struct ctl_client *client);

#endif /* ML_CTL_CLIENT_H */
