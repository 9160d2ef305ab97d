/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of a command, from --env and --env-file. */
#ifndef CUBBY_CLI_ENVIRONMENT_H
#define CUBBY_CLI_ENVIRONMENT_H

#include "cli/options.h"

struct environment {
    char **vars; /* "NAME=value", NULL-terminated; heap, as each of them */
    size_t count;
};

/*
 * "NAME=value" sets a variable and replaces an earlier one of that name; "NAME" alone takes it from our own
 * environment, where it may be missing. 0, or -1 with `why`.
 */
int environment_add(struct environment *e, const char *word, char why[USAGE_TEXT_MAX]);
/* Lines as above; empty ones and those that start with '#' are skipped. 0, or -1 with `why`, which names the
 * line. */
int environment_add_file(struct environment *e, const char *path, char why[USAGE_TEXT_MAX]);
/* Safe on a zeroed one. */
void environment_fini(struct environment *e);

#endif
