/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the same facts in three forms: for the owner (an event), for measurements (a file),
 * and for whoever sits before stderr, who hears only of ends that nobody wanted, with the guest's last words
 * if they were not to be seen on the console.
 */
#include "vmm/report.h"
#include "base/log.h"
#include "virtio/console.h"
#include "vmm/vm.h"

#include <stdio.h>
#include <string.h>

#define TAIL_EVENT 4096 /* bytes of the console in the event */
#define TAIL_LINES 12   /* lines of it for people */

/* Any byte may have come from the guest; JSON and terminals want text. */
static void make_printable(char *s)
{
    for (; *s; s++) {
        if ((*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f)
            *s = *s == '\r' ? ' ' : '?';
        else if ((unsigned char)*s >= 0x80)
            *s = '?';
    }
}

static void send_event(struct vm *vm, const struct end *end, const struct exit_report *exits,
                       const char *tail)
{
    uint64_t ns = 0;
    timeline_at(vm->timeline, MARK_ENDED, &ns);
    status_event(vm->status, "ended", ns,
                 json_pack("{s:s, s:s, s:o, s:s}", "reason", end_name(end->reason), "detail", end->detail,
                           "exits", exit_report_json(exits), "console_tail", tail));
}

static void write_timeline(struct vm *vm, const struct end *end, const struct exit_report *exits)
{
    struct err e = {0};
    bool ready = atomic_load(&vm->ready_reported);
    json_t *json = timeline_json(vm->timeline, ready ? &vm->exits_until_ready : NULL, exits, end);
    if (timeline_write(vm->config->timeline, json, &e))
        log_err(LOG_VMM, "the timeline is lost: %s", e.text);
    json_decref(json);
}

static const char *last_lines(const char *text, int lines)
{
    const char *p = text + strlen(text);
    while (p > text && (p[-1] != '\n' || lines-- > 0))
        p--;
    return p;
}

static void tell_people(const struct vm *vm, const struct end *end, const char *tail)
{
    fprintf(stderr, "cubby-vmm: %s: %s\n", end_name(end->reason), end->detail);
    bool on_terminal = vm->config->console && strcmp(vm->config->console, "-") == 0;
    if (!on_terminal && *tail)
        fprintf(stderr, "cubby-vmm: the console's last lines:\n%s\n", last_lines(tail, TAIL_LINES));
}

void report_end(struct vm *vm, const struct end *end)
{
    char tail[TAIL_EVENT];
    struct exit_report exits;
    struct end clean = *end;
    vm_report_exits(vm, &exits);
    console_tail(devices_console(&vm->devices), tail, sizeof(tail));
    make_printable(tail);
    make_printable(clean.detail); /* a panic's words are the guest's */
    send_event(vm, &clean, &exits, tail);
    if (vm->config->timeline)
        write_timeline(vm, &clean, &exits);
    if (end_exit_code(clean.reason) != 0)
        tell_people(vm, &clean, tail);
    else
        log_info(LOG_VMM, "ended: %s: %s", end_name(clean.reason), clean.detail);
}
