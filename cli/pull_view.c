/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: events change rows; at most some fifteen times a second the rows are drawn over the
 * ones that are there: the cursor goes up by as many lines, each line is written and its rest erased. A
 * picture is never taller than the terminal, or its upper lines would be out of reach: then layers that are
 * done are left out.
 *
 * Elsewhere a layer's line is written when it begins to come and when it is there, and every retry, so that a
 * log is short and tells why something took long.
 */
#include "cli/pull_view.h"

#include "cli/terminal.h"
#include "cli/values.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_NS    UINT64_C(66000000)
#define ROWS_DEFAULT 24
#define COLS_DEFAULT 80
#define BAR_MAX      40
#define LINE_CAP     512

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char *phase_words(int phase)
{
    static const char *const words[] = {
        [CUBBY_PULL_RESOLVING] = "asking the registry",
        [CUBBY_PULL_RESOLVED] = "",
        [CUBBY_PULL_EXISTS] = "here already",
        [CUBBY_PULL_WAITING] = "another process downloads it",
        [CUBBY_PULL_DOWNLOADING] = "downloading",
        [CUBBY_PULL_RETRYING] = "trying again",
        [CUBBY_PULL_VERIFYING] = "verifying",
        [CUBBY_PULL_DOWNLOADED] = "downloaded",
        [CUBBY_PULL_MERGING] = "merging",
        [CUBBY_PULL_MERGED] = "done",
        [CUBBY_PULL_FINISHING] = "writing the root file system",
    };
    bool known = phase >= 0 && (size_t)phase < sizeof(words) / sizeof(words[0]);
    return known ? words[phase] : "waiting";
}

void pull_view_init(struct pull_view *v, FILE *to, const char *name, bool quiet)
{
    *v = (struct pull_view){
        .to = to, .name = name, .quiet = quiet, .whole.phase = -1, .terminal = isatty(fileno(to)) == 1};
}

/* ---- on a terminal
 * ---------------------------------------------------------------------------------------*/

/* "[=====>    ]" of `width` characters between the brackets. */
static int draw_bar(uint64_t have, uint64_t total, unsigned width, char *out, size_t cap)
{
    char bar[BAR_MAX + 1];
    unsigned filled = (unsigned)((double)width * (double)have / (double)total);
    for (unsigned i = 0; i < width; i++)
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[width] = '\0';
    return snprintf(out, cap, "[%s] ", bar);
}

void pull_view_line(const struct pull_row *row, unsigned columns, char *out, size_t cap)
{
    char have[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], line[LINE_CAP];
    bool bar = row->phase == CUBBY_PULL_DOWNLOADING && row->total > 0 && row->have <= row->total;
    int n = snprintf(line, sizeof(line), "  %-12s  %-12s ", row->digest, phase_words(row->phase));
    unsigned room = columns > (unsigned)n + 32 ? columns - (unsigned)n - 32 : 0;
    if (bar && room >= 8)
        n += draw_bar(row->have, row->total, room < BAR_MAX ? room : BAR_MAX, line + n,
                      sizeof(line) - (size_t)n);
    if (row->phase == CUBBY_PULL_RETRYING)
        snprintf(line + n, sizeof(line) - (size_t)n, "%s", row->reason);
    if (bar)
        snprintf(line + n, sizeof(line) - (size_t)n, "%s / %s", format_size(row->have, have),
                 format_size(row->total, total));
    snprintf(out, cap, "%.*s", (int)columns, line);
    for (size_t len = strlen(out); len > 0 && out[len - 1] == ' '; len--)
        out[len - 1] = '\0';
}

static bool is_done(const struct pull_row *row)
{
    return row->phase == CUBBY_PULL_EXISTS || row->phase == CUBBY_PULL_MERGED;
}

static void erase(struct pull_view *v)
{
    if (v->drawn > 0)
        fprintf(v->to, "\033[%zuA\r\033[J", v->drawn);
    v->drawn = 0;
}

static void draw(struct pull_view *v)
{
    unsigned height = ROWS_DEFAULT, columns = COLS_DEFAULT;
    char line[LINE_CAP];
    size_t left_out = 0;
    terminal_size(fileno(v->to), &height, &columns);
    size_t room = height > 3 ? height - 3 : 1, surplus = v->rows > room ? v->rows - room : 0;
    if (v->drawn > 0)
        fprintf(v->to, "\033[%zuA", v->drawn);
    fprintf(v->to, "\r%.*s\033[K\n", (int)columns - 1, v->name);
    v->drawn = 1;
    for (size_t i = 0; i < v->rows && v->drawn <= room; i++) {
        if (left_out < surplus && is_done(&v->row[i])) {
            left_out++;
            continue;
        }
        pull_view_line(&v->row[i], columns - 1, line, sizeof(line));
        fprintf(v->to, "%s\033[K\n", line);
        v->drawn++;
    }
    if (v->whole.phase != CUBBY_PULL_RESOLVED) {
        pull_view_line(&v->whole, columns - 1, line, sizeof(line));
        fprintf(v->to, "%s\033[K\n", line);
        v->drawn++;
    }
    fprintf(v->to, "\033[J");
    fflush(v->to);
    v->drawn_ns = clock_ns();
}

/* ---- elsewhere
 * -------------------------------------------------------------------------------------------*/

static void tell(struct pull_view *v, const struct cubby_pull_event *e, const struct pull_row *row,
                 bool changed)
{
    char size[SIZE_TEXT_MAX];
    const char *what = row->digest[0] ? row->digest : v->name;
    if (e->phase == CUBBY_PULL_RETRYING)
        fprintf(v->to, "%s: trying again %s\n", what, row->reason);
    else if (e->phase == CUBBY_PULL_RESOLVED)
        fprintf(v->to, "%s: %d layer%s, %s\n", v->name, e->layers, e->layers == 1 ? "" : "s",
                format_size(e->total, size));
    else if (changed && e->phase == CUBBY_PULL_DOWNLOADING)
        fprintf(v->to, "%s: downloading %s\n", what, format_size(e->total, size));
    else if (changed && e->layer >= 0 && e->phase != CUBBY_PULL_VERIFYING && e->phase != CUBBY_PULL_MERGING)
        fprintf(v->to, "%s: %s\n", what, phase_words(e->phase));
    fflush(v->to);
}

/* ---- events
 * ----------------------------------------------------------------------------------------------*/

static void make_rows(struct pull_view *v, size_t count)
{
    v->row = calloc(count, sizeof(*v->row));
    v->rows = v->row ? count : 0;
    for (size_t i = 0; i < v->rows; i++)
        v->row[i].phase = -1;
}

/* NULL for the image's configuration, which is small and of no interest here. */
static struct pull_row *row_of(struct pull_view *v, const struct cubby_pull_event *e)
{
    if (e->layer >= 0)
        return (size_t)e->layer < v->rows ? &v->row[e->layer] : NULL;
    return e->phase == CUBBY_PULL_RESOLVING || e->phase == CUBBY_PULL_RESOLVED ||
                   e->phase == CUBBY_PULL_FINISHING || e->phase == CUBBY_PULL_RETRYING
               ? &v->whole
               : NULL;
}

static void note(struct pull_row *row, const struct cubby_pull_event *e)
{
    const char *hex = strchr(e->digest, ':');
    if (e->layer >= 0)
        snprintf(row->digest, sizeof(row->digest), "%s", hex ? hex + 1 : e->digest);
    row->phase = e->phase;
    row->have = e->have;
    row->total = e->total;
    snprintf(row->reason, sizeof(row->reason), "in %.1f s: %s", (double)e->delay_ms / 1000, e->reason);
}

void pull_view_progress(void *view, const struct cubby_pull_event *event)
{
    struct pull_view *v = view;
    if (v->quiet)
        return;
    if (event->layers > 0 && v->rows == 0)
        make_rows(v, (size_t)event->layers);
    struct pull_row *row = row_of(v, event);
    if (!row)
        return;
    bool changed = row->phase != event->phase;
    note(row, event);
    if (!v->terminal)
        tell(v, event, row, changed);
    else if (changed || clock_ns() - v->drawn_ns >= REDRAW_NS)
        draw(v);
}

void pull_view_fini(struct pull_view *v, bool keep)
{
    if (v->terminal && v->drawn > 0) {
        v->whole.phase = CUBBY_PULL_RESOLVED; /* the line of what it was doing goes */
        if (keep)
            draw(v);
        else
            erase(v);
        fflush(v->to);
    }
    free(v->row);
    v->row = NULL;
    v->rows = 0;
}
