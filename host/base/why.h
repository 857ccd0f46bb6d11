/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why not: one line for people that goes with an error number, as a function that refuses
 * something hands it to its caller. Used by every folder of host/.
 *
 *	struct ml_why why = { "" };
 *
 *	if (pages % 2)
 *		return ml_refuse(&why, -EINVAL, "%u pages are odd; give an even number", pages);
 */
#ifndef ML_BASE_WHY_H
#define ML_BASE_WHY_H

#define ML_WHY_BYTES 640	/* with the NUL; longer text is cut */

struct ml_why {
	char text[ML_WHY_BYTES];
};

/*
 * Write the text and return error as it is. The arguments may include why->text, so that a
 * caller can put words in front of what it was told:
 *
 *	return ml_refuse(why, ret, "plan '%s': %s", name, why->text);
 */
int ml_refuse(struct ml_why *why, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* ML_BASE_WHY_H */
