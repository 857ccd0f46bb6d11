// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Times on the command line and in tables. Called by bill, events and status.
 * Leaves the calendar to the C library, and checks that it changed no field.
 */
#include "when.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "units.h"

/* A date as written: fields not given are 0, or 1 for month and day. */
struct date {
	struct tm tm;
	int ms;
	bool zoned;
	int zone_min;		/* east of UTC */
};

/* Exactly n digits. */
static bool digits(const char **p, int n, int *value)
{
	*value = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		*value = *value * 10 + (**p - '0');
	}
	return true;
}

static bool eat(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* ".123": any number of digits, the first three count. */
static bool parse_fraction(const char **p, int *ms)
{
	int unit = 100;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++, unit /= 10)
		*ms += unit * (**p - '0');
	return true;
}

static bool parse_zone(const char **p, struct date *d)
{
	int sign = **p == '-' ? -1 : 1, hours, minutes = 0;

	if (!**p)
		return true;
	d->zoned = true;
	if (eat(p, 'Z') || eat(p, 'z'))
		return true;
	if (!eat(p, '+') && !eat(p, '-'))
		return false;
	if (!digits(p, 2, &hours))
		return false;
	eat(p, ':');
	if (**p && !digits(p, 2, &minutes))
		return false;
	d->zone_min = sign * (hours * 60 + minutes);
	return hours <= 14 && minutes < 60;
}

static bool parse_clock(const char **p, struct date *d)
{
	if (!digits(p, 2, &d->tm.tm_hour))
		return false;
	if (eat(p, ':')) {
		if (!digits(p, 2, &d->tm.tm_min))
			return false;
		if (eat(p, ':')) {
			if (!digits(p, 2, &d->tm.tm_sec))
				return false;
			if (eat(p, '.') && !parse_fraction(p, &d->ms))
				return false;
		}
	}
	return parse_zone(p, d);
}

static bool parse_date(const char *p, struct date *d)
{
	int year, month, day = 1;

	memset(d, 0, sizeof(*d));
	if (!digits(&p, 4, &year) || !eat(&p, '-') || !digits(&p, 2, &month))
		return false;
	if (eat(&p, '-')) {
		if (!digits(&p, 2, &day))
			return false;
		if ((eat(&p, 'T') || eat(&p, 't') || eat(&p, ' ')) && !parse_clock(&p, d))
			return false;
	}
	d->tm.tm_year = year - 1900;
	d->tm.tm_mon = month - 1;
	d->tm.tm_mday = day;
	d->tm.tm_isdst = -1;
	return !*p;
}

static int date_to_ms(const struct date *d, int64_t *ms)
{
	struct tm tm = d->tm;
	time_t s;

	errno = 0;
	s = d->zoned ? timegm(&tm) : mktime(&tm);
	if (d->tm.tm_year < 70 || (s == (time_t)-1 && errno))
		return -ERANGE;
	/* 30 February would have become 2 March. */
	if (tm.tm_mon != d->tm.tm_mon || tm.tm_mday != d->tm.tm_mday ||
	    tm.tm_hour != d->tm.tm_hour || tm.tm_min != d->tm.tm_min || tm.tm_sec != d->tm.tm_sec)
		return -ERANGE;
	*ms = ((int64_t)s - d->zone_min * 60) * 1000 + d->ms;
	return 0;
}

/* Midnight at the start of a day or month of local time, some days or months from now. */
static int local_start(int64_t now_ms, bool of_month, int ahead, int64_t *ms)
{
	time_t now = (time_t)(now_ms / 1000), start;
	struct tm tm;

	localtime_r(&now, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	if (of_month) {
		tm.tm_mday = 1;
		tm.tm_mon += ahead;
	} else {
		tm.tm_mday += ahead;
	}
	start = mktime(&tm);
	if (start == (time_t)-1)
		return -ERANGE;
	*ms = (int64_t)start * 1000;
	return 0;
}

static int parse_epoch(const char *text, int64_t *ms)
{
	int64_t s = 0;

	if (!*text || strlen(text) > 12)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		s = s * 10 + (*text - '0');
	}
	*ms = s * 1000;
	return 0;
}

int when_parse(const char *text, int64_t now_ms, int64_t *ms)
{
	struct date date;
	int64_t span;
	int err;

	if (!strcmp(text, "now")) {
		*ms = now_ms;
		return 0;
	}
	if (!strcmp(text, "today"))
		return local_start(now_ms, false, 0, ms);
	if (!strcmp(text, "yesterday"))
		return local_start(now_ms, false, -1, ms);
	if (!strcmp(text, "tomorrow"))
		return local_start(now_ms, false, 1, ms);
	if (!strcmp(text, "month"))
		return local_start(now_ms, true, 0, ms);
	if (!strcmp(text, "last-month"))
		return local_start(now_ms, true, -1, ms);
	if (text[0] == '@')
		return parse_epoch(text + 1, ms);
	if (text[0] == '-') {
		err = isdigit((unsigned char)text[strlen(text) - 1]) ? -EINVAL :
			span_parse(text + 1, &span);
		if (!err)
			*ms = now_ms - span;
		return err;
	}
	if (!parse_date(text, &date))
		return -EINVAL;
	return date_to_ms(&date, ms);
}

static struct tm broken_down(int64_t ms, bool utc, int *rest_ms)
{
	int64_t s = ms / 1000;
	struct tm tm;
	time_t t;

	if (ms % 1000 < 0)
		s--;
	*rest_ms = (int)(ms - s * 1000);
	t = (time_t)s;
	if (utc)
		gmtime_r(&t, &tm);
	else
		localtime_r(&t, &tm);
	return tm;
}

const char *when_format_minute(int64_t ms, char text[WHEN_TEXT_MAX])
{
	int rest;
	struct tm tm = broken_down(ms, false, &rest);

	strftime(text, WHEN_TEXT_MAX, "%Y-%m-%d %H:%M", &tm);
	return text;
}

const char *when_format_ms(int64_t ms, char text[WHEN_TEXT_MAX])
{
	int rest;
	struct tm tm = broken_down(ms, false, &rest);
	size_t n = strftime(text, WHEN_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);

	snprintf(text + n, WHEN_TEXT_MAX - n, ".%03d", rest);
	return text;
}

const char *when_format_iso(int64_t ms, char text[WHEN_TEXT_MAX])
{
	int rest;
	struct tm tm = broken_down(ms, true, &rest);
	size_t n = strftime(text, WHEN_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(text + n, WHEN_TEXT_MAX - n, ".%03dZ", rest);
	return text;
}
