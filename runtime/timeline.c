/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: both sides stamp CLOCK_MONOTONIC, which all processes of a host share. The VMM writes
 * nanoseconds since its main() and says when that was ("start_ns"), so its marks are moved onto our zero by
 * one addition. Lists are made and sorted when somebody asks.
 */
#include "runtime/timeline.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  (1 << 20)
#define LIST_MAX  256
#define VMM_START "main" /* the VMM's own zero; shown as "vmm-main" */

static const char *const mark_names[MARKS] = {
    [MARK_SPAWN] = "spawn",
    [MARK_READY] = "ready-received",
    [MARK_EXEC_SENT] = "exec-sent",
    [MARK_EXEC_STARTED] = "exec-started",
    [MARK_EXEC_RESULT] = "exec-result",
    [MARK_STOPPED] = "stopped",
};

struct list {
    struct cubby_mark mark[LIST_MAX];
    size_t count;
};

void timeline_stamp(struct timeline *t, enum timeline_mark mark)
{
    if (t->at_ns[mark] == 0)
        t->at_ns[mark] = now_ns();
}

void timeline_load(struct timeline *t, const char *path)
{
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    json_error_t why;
    if (t->vmm || read_file(path, FILE_MAX, &text, &len, NULL) < 0)
        return;
    t->vmm = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!t->vmm)
        log_warn(LOG_BOX, "the VMM's timeline cannot be read: %s", why.text);
}

void timeline_fini(struct timeline *t)
{
    json_decref(t->vmm);
    t->vmm = NULL;
}

static void add(struct list *l, const char *prefix, const char *name, uint64_t ns, uint64_t count)
{
    if (l->count == LIST_MAX)
        return;
    struct cubby_mark *m = &l->mark[l->count++];
    *m = (struct cubby_mark){.ns = ns, .count = count};
    snprintf(m->name, sizeof(m->name), "%s%s", prefix, name);
}

static void add_marks(struct list *l, const struct timeline *t)
{
    uint64_t zero = t->at_ns[MARK_SPAWN];
    for (int i = 0; i < MARKS; i++) {
        if (t->at_ns[i])
            add(l, "", mark_names[i], t->at_ns[i] - zero, 0);
    }
    uint64_t start = (uint64_t)json_integer_value(json_object_get(t->vmm, "start_ns"));
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(t->vmm, "marks"), name, value)
    {
        uint64_t at = start + (uint64_t)json_integer_value(value);
        if (json_is_integer(value) && at >= zero)
            add(l, strcmp(name, VMM_START) == 0 ? "vmm-" : "", name, at - zero, 0);
    }
}

static int earlier(const void *a, const void *b)
{
    const struct cubby_mark *x = a, *y = b;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

static int more(const void *a, const void *b)
{
    const struct cubby_mark *x = a, *y = b;
    return (x->count < y->count) - (x->count > y->count);
}

static void add_counts(struct list *l, const json_t *vmm, const char *key)
{
    char prefix[32];
    const char *kind;
    json_t *value;
    const json_t *exits = json_object_get(vmm, key);
    snprintf(prefix, sizeof(prefix), "%s/", key);
    if (json_is_integer(json_object_get(exits, "total")))
        add(l, prefix, "total", 0, (uint64_t)json_integer_value(json_object_get(exits, "total")));
    size_t first = l->count;
    json_object_foreach(json_object_get(exits, "by_kind"), kind, value)
    {
        if (json_is_integer(value))
            add(l, prefix, kind, 0, (uint64_t)json_integer_value(value));
    }
    qsort(l->mark + first, l->count - first, sizeof(l->mark[0]), more);
}

/* All there is, in order: a heap block, or NULL. */
static struct list *gather(const struct timeline *t, bool counts)
{
    struct list *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    add_marks(l, t);
    qsort(l->mark, l->count, sizeof(l->mark[0]), earlier);
    if (counts) {
        add_counts(l, t->vmm, "exits_until_ready");
        add_counts(l, t->vmm, "exits");
    }
    return l;
}

size_t timeline_list(const struct timeline *t, struct cubby_mark *marks, size_t cap)
{
    CLEANUP(mem_freep) struct list *l = gather(t, true);
    if (!l)
        return 0;
    size_t n = l->count < cap ? l->count : cap;
    if (n > 0)
        memcpy(marks, l->mark, n * sizeof(marks[0]));
    return l->count;
}

char *timeline_text(const struct timeline *t)
{
    CLEANUP(mem_freep) struct list *l = gather(t, false);
    json_t *root = json_object(), *marks = json_object();
    for (size_t i = 0; l && i < l->count; i++)
        json_object_set_new(marks, l->mark[i].name, json_integer((json_int_t)l->mark[i].ns));
    json_object_set_new(root, "version", json_integer(1));
    json_object_set_new(root, "start_ns", json_integer((json_int_t)t->at_ns[MARK_SPAWN]));
    json_object_set_new(root, "marks", marks);
    static const char *const passed_on[] = {"exits_until_ready", "exits", "end"};
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++) {
        json_t *value = json_object_get(t->vmm, passed_on[i]);
        json_object_set(root, passed_on[i], value ? value : json_null());
    }
    char *text = l ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}
