/* SPDX-License-Identifier: Apache-2.0 */
/* `cubby run --timeline`: the boundaries of a box's life, for people and for programs. */
#ifndef CUBBY_CLI_TIMELINE_H
#define CUBBY_CLI_TIMELINE_H

#include "cli/options.h"
#include "cubby.h"

/* `to` is "-" for a table on stderr, or a file for JSON. 0, or -1 with `why`. */
int timeline_show(struct cubby_box *box, const char *to, char why[USAGE_TEXT_MAX]);

/* The table of `count` marks. */
void timeline_print(const struct cubby_mark *marks, size_t count, FILE *to);

#endif
