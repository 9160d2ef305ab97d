/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: libcubby gives the marks in order, then the counts; the table adds the step from mark
 * to mark. */
#include "cli/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MARKS_MAX 256

static int is_count(const struct cubby_mark *m)
{
    return strchr(m->name, '/') != NULL;
}

static void print_marks(const struct cubby_mark *marks, size_t count, FILE *to)
{
    uint64_t before = 0;
    fprintf(to, "%-24s %12s %12s\n", "boundary", "ms", "step");
    for (size_t i = 0; i < count; i++) {
        if (is_count(&marks[i]))
            continue;
        fprintf(to, "%-24s %12.3f %12.3f\n", marks[i].name, (double)marks[i].ns / 1e6,
                (double)(marks[i].ns - before) / 1e6);
        before = marks[i].ns;
    }
}

/* One line: "user-space exits until ready: 310 (mmio 200, io 110)". */
static void print_counts(const struct cubby_mark *marks, size_t count, const char *group, const char *title,
                         FILE *to)
{
    size_t len = strlen(group);
    const char *before = "";
    for (size_t i = 0; i < count; i++) {
        const char *kind = marks[i].name + len + 1;
        if (strncmp(marks[i].name, group, len) != 0 || marks[i].name[len] != '/')
            continue;
        if (strcmp(kind, "total") == 0) {
            fprintf(to, "%s: %llu", title, (unsigned long long)marks[i].count);
            before = " (";
        } else if (*before) {
            fprintf(to, "%s%s %llu", before, kind, (unsigned long long)marks[i].count);
            before = ", ";
        }
    }
    if (*before)
        fprintf(to, "%s\n", *before == ',' ? ")" : "");
}

void timeline_print(const struct cubby_mark *marks, size_t count, FILE *to)
{
    print_marks(marks, count, to);
    print_counts(marks, count, "exits_until_ready", "user-space exits until ready", to);
    print_counts(marks, count, "exits", "user-space exits in all", to);
}

static int write_json(struct cubby_box *box, const char *path, char why[USAGE_TEXT_MAX])
{
    char *json = cubby_box_timeline_json(box);
    FILE *f = json ? fopen(path, "we") : NULL;
    int failed = !f || fprintf(f, "%s\n", json) < 0;
    if (f && fclose(f) != 0)
        failed = 1;
    free(json);
    if (failed)
        snprintf(why, USAGE_TEXT_MAX, "cannot write the timeline to '%.80s': %s", path, strerror(errno));
    return failed ? -1 : 0;
}

int timeline_show(struct cubby_box *box, const char *to, char why[USAGE_TEXT_MAX])
{
    struct cubby_mark marks[MARKS_MAX];
    struct cubby_error e;
    if (strcmp(to, "-") != 0)
        return write_json(box, to, why);
    int n = cubby_box_timeline(box, marks, MARKS_MAX, &e);
    if (n < 0) {
        snprintf(why, USAGE_TEXT_MAX, "%.200s", e.message);
        return -1;
    }
    timeline_print(marks, n < MARKS_MAX ? (size_t)n : MARKS_MAX, stderr);
    return 0;
}
