/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The version of the project: of the daemon, as --version, the greeting and query-version
 * give it, and of the CLI.
 */
#ifndef ML_BASE_VERSION_H
#define ML_BASE_VERSION_H

#define ML_VERSION_MAJOR 0
#define ML_VERSION_MINOR 1
#define ML_VERSION_MICRO 0
#define ML_VERSION "0.1.0"

#endif /* ML_BASE_VERSION_H */
