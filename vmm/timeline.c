/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a fixed array of atomic stamps, one per boundary. The main thread stamps what it
 * builds, vCPU threads stamp the guest's doorbell; the first stamp of a mark counts, so a guest that rings
 * again changes nothing.
 */
#include "vmm/timeline.h"
#include "base/io.h"
#include "base/own.h"
#include "vmm/bus.h"

#include <errno.h>
#include <string.h>

static const char *const names[TIMELINE_MARKS] = {
    [MARK_MAIN] = "main",
    [MARK_VM_CREATED] = "vm-created",
    [MARK_MEMORY_READY] = "memory-ready",
    [MARK_DEVICES_READY] = "devices-ready",
    [MARK_KERNEL_LOADED] = "kernel-loaded",
    [MARK_FIRST_RUN] = "first-run",
    [MARK_INIT_STARTED] = "init-started",
    [MARK_ROOT_READY] = "root-ready",
    [MARK_AGENT_READY] = "agent-ready",
    [MARK_ENDED] = "ended",
};

const char *timeline_name(enum timeline_mark mark)
{
    return (unsigned)mark < TIMELINE_MARKS ? names[mark] : "unknown";
}

void timeline_init(struct timeline *t, uint64_t start_ns)
{
    t->start_ns = start_ns;
    for (unsigned i = 0; i < TIMELINE_MARKS; i++)
        atomic_init(&t->since_start_ns[i], 0);
    atomic_init(&t->since_start_ns[MARK_MAIN], 1);
}

bool timeline_stamp(struct timeline *t, enum timeline_mark mark)
{
    uint64_t expected = 0;
    uint64_t value = now_ns() - t->start_ns + 1;
    return atomic_compare_exchange_strong(&t->since_start_ns[mark], &expected, value);
}

bool timeline_at(const struct timeline *t, enum timeline_mark mark, uint64_t *ns)
{
    uint64_t value = atomic_load(&t->since_start_ns[mark]);
    if (value == 0)
        return false;
    *ns = value - 1;
    return true;
}

static void report_hits(struct exit_report *r, const char *name, uint64_t hits)
{
    if (r->ndevices == EXIT_REPORT_DEVICES)
        return; /* not reached: a machine has fewer ranges */
    r->device[r->ndevices].name = name;
    r->device[r->ndevices++].hits = hits;
}

void exit_report_bus(struct exit_report *r, const struct bus *b, const char *unclaimed)
{
    for (unsigned i = 0; i < b->count; i++)
        report_hits(r, b->range[i].name, atomic_load_explicit(&b->range[i].hits, memory_order_relaxed));
    report_hits(r, unclaimed, atomic_load_explicit(&b->unclaimed, memory_order_relaxed));
}

json_t *exit_report_json(const struct exit_report *r)
{
    json_t *kinds = json_object(), *devices = json_object();
    for (unsigned i = 0; i < EXIT_KINDS; i++) {
        if (!r->by_kind[i])
            continue;
        /* Kinds without a name of their own share "other". */
        const char *name = exit_name(i);
        json_int_t sum = json_integer_value(json_object_get(kinds, name)) + (json_int_t)r->by_kind[i];
        json_object_set_new(kinds, name, json_integer(sum));
    }
    for (unsigned i = 0; i < r->ndevices; i++) {
        if (r->device[i].hits)
            json_object_set_new(devices, r->device[i].name, json_integer((json_int_t)r->device[i].hits));
    }
    return json_pack("{s:I, s:o, s:o}", "total", (json_int_t)exits_total(r->by_kind), "by_kind", kinds,
                     "by_device", devices);
}

json_t *timeline_json(const struct timeline *t, const struct exit_report *until_ready,
                      const struct exit_report *total, const struct end *end)
{
    json_t *marks = json_object();
    for (unsigned i = 0; i < TIMELINE_MARKS; i++) {
        uint64_t ns;
        if (timeline_at(t, i, &ns))
            json_object_set_new(marks, timeline_name(i), json_integer((json_int_t)ns));
    }
    return json_pack("{s:i, s:I, s:o, s:o, s:o, s:{s:s, s:s}}", "version", 1, "start_ns",
                     (json_int_t)t->start_ns, "marks", marks, "exits_until_ready",
                     until_ready ? exit_report_json(until_ready) : json_null(), "exits",
                     exit_report_json(total), "end", "reason", end_name(end->reason), "detail", end->detail);
}

int timeline_write(const char *path, json_t *json, struct err *e)
{
    CLEANUP(mem_freep) char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (!text)
        return err_set(e, -ENOMEM, "no memory for the timeline");
    size_t len = strlen(text);
    text[len] = '\n'; /* in place of the NUL: the file is bytes, not a string */
    return write_file_atomic(path, text, len + 1, 0644, e);
}
