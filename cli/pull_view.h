/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pull is doing, for people: on a terminal a line with a bar for each layer, drawn anew; elsewhere a
 * line for each thing that has happened.
 */
#ifndef CUBBY_CLI_PULL_VIEW_H
#define CUBBY_CLI_PULL_VIEW_H

#include "cubby.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PULL_REASON_MAX 160

struct pull_row {
    char digest[13]; /* the first digits; "" until they are known */
    int phase;
    uint64_t have, total;
    char reason[PULL_REASON_MAX]; /* of a retry, with when it comes */
};

struct pull_view {
    FILE *to;
    const char *name; /* what is pulled, as it was typed */
    bool terminal, quiet;
    struct pull_row *row;  /* by layer; heap */
    size_t rows, drawn;    /* drawn: lines that are on the terminal */
    struct pull_row whole; /* the image itself */
    uint64_t drawn_ns;
};

/* `to` is stderr, usually; `quiet`: tells nothing. */
void pull_view_init(struct pull_view *v, FILE *to, const char *name, bool quiet);
/* A cubby_pull_options.progress; `view` is a struct pull_view. */
void pull_view_progress(void *view, const struct cubby_pull_event *event);
/* The end: `keep` leaves the last picture on the terminal, else it is wiped off. Safe after no event at all.
 */
void pull_view_fini(struct pull_view *v, bool keep);

/* One line of the picture, at most `columns` wide, without a line feed; for `row` and the tests. */
void pull_view_line(const struct pull_row *row, unsigned columns, char *out, size_t cap);

#endif
