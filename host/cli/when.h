/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Points in time as people write them. Depends on the time zone of the process
 * (TZ) and on nothing else; the present is handed in.
 */
#ifndef ML_CLI_WHEN_H
#define ML_CLI_WHEN_H

#include <stdint.h>

#define WHEN_TEXT_MAX 40	/* bytes that hold any text made here, NUL included */
#define WHEN_FORMS "now, today, yesterday, month, last-month, -2h, 2026-11, 2026-11-01 or 2026-11-01T14:30 (local time; add Z or +01:00 for another)"

/*
 * Milliseconds since 1970, UTC. Days and months start at midnight local time.
 * "-2h" is before now (units of span_parse), "@1795219200" seconds since 1970;
 * the rest as in WHEN_FORMS. -EINVAL; -ERANGE for what no calendar has (30
 * February, an hour that daylight saving skips) or years outside 1970..9999.
 */
int when_parse(const char *text, int64_t now_ms, int64_t *ms);

/* "2026-11-21 00:40", local time. */
const char *when_format_minute(int64_t ms, char text[WHEN_TEXT_MAX]);
/* "2026-11-21 00:40:01.123", local time. */
const char *when_format_ms(int64_t ms, char text[WHEN_TEXT_MAX]);
/* "2026-11-21T00:40:01.123Z". */
const char *when_format_iso(int64_t ms, char text[WHEN_TEXT_MAX]);

#endif /* ML_CLI_WHEN_H */
