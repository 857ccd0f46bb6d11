/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per event, to standard error (which systemd takes into the journal),
 * with a level prefix that journald understands when it is the reader. Any
 * folder of host/ may log; nobody logs on the path of a single touch.
 */
#ifndef ML_BASE_LOG_H
#define ML_BASE_LOG_H

enum ml_log_level { ML_LOG_ERR, ML_LOG_WARN, ML_LOG_INFO, ML_LOG_DEBUG };

/* Show messages up to this level; ML_LOG_INFO at start. Not thread-safe; call early. */
void ml_log_set_level(enum ml_log_level level);

void ml_log(enum ml_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ml_err(...) ml_log(ML_LOG_ERR, __VA_ARGS__)
#define ml_warn(...) ml_log(ML_LOG_WARN, __VA_ARGS__)
#define ml_info(...) ml_log(ML_LOG_INFO, __VA_ARGS__)
#define ml_debug(...) ml_log(ML_LOG_DEBUG, __VA_ARGS__)

#endif /* ML_BASE_LOG_H */
