/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the server says, as text: one message is one line of ASCII that ends with CR LF, as
 * QMP has it. Used by client.c, announce.c, session.c and bill_jobs.c. Pure functions.
 */
#ifndef ML_CTL_REPLY_H
#define ML_CTL_REPLY_H

#include <jansson.h>
#include <stddef.h>

/* Every text here is from malloc(), and NULL when out of memory. */

/* json as ASCII. NULL also where json is NULL. */
char *reply_text(const json_t *json);

/* {"KEY": VALUE, "id": ID} and the end of the line. value and id: JSON text; id may be NULL. */
char *reply_line(const char *key, const char *value, const char *id);

/* Any message and the end of the line. */
char *reply_message(const json_t *message);

/*
 * A command's id, given as the client wrote it, as it goes back: the same value in ASCII.
 * 0; -EINVAL: it is no JSON; -ENOMEM. NULL makes NULL.
 */
int reply_id(const char *text, size_t len, char **id);

/*
 * The error object. class is one of schema.json's errors or of its kinds; desc may be no
 * UTF-8, where a value in it was cut.
 */
char *reply_error(const char *error_class, const char *desc);

#endif /* ML_CTL_REPLY_H */
