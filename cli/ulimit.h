/* SPDX-License-Identifier: Apache-2.0 */
/* --ulimit: the limits of a command's processes, by the names that Docker and the shell give them. */
#ifndef CUBBY_CLI_ULIMIT_H
#define CUBBY_CLI_ULIMIT_H

#include "cli/options.h"
#include "cubby.h"

struct ulimits {
    struct cubby_rlimit limits[CUBBY_RLIMITS_MAX];
    unsigned count;
};

/*
 * Adds "NAME=SOFT[:HARD]", such as "nofile=1024:2048"; without HARD it is as SOFT. Both are whole numbers in
 * the unit of setrlimit(2), or "unlimited" or "-1". An earlier limit of that name is replaced. 0, or -1 with
 * `why`.
 */
int ulimits_add(struct ulimits *u, const char *word, char why[USAGE_TEXT_MAX]);

#endif
