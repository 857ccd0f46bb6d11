/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts as JSON's integers, which end at 63 bits.
 */
#ifndef ML_CTL_JSON_NUMBER_H
#define ML_CTL_JSON_NUMBER_H

#include <jansson.h>
#include <stdint.h>

/* A new reference; what does not fit is the largest that does. */
static inline json_t *json_count(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static inline void json_set_count(json_t *to, const char *key, uint64_t value)
{
	json_object_set_new(to, key, json_count(value));
}

#endif /* ML_CTL_JSON_NUMBER_H */
