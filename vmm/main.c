/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby-vmm: one virtual machine from a command line, until it ends.
 *
 *     options   what was asked for              options.c, config.c, config_json.c
 *     vm        make it, run it, take it apart  vm.c, vm_run.c, vm_end.c
 *     report    say how it ended                report.c, end.h has the exit codes
 *
 * Only this file exits, and only it and report.c print.
 */
#include "base/io.h"
#include "vmm/control.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/probe.h"
#include "vmm/report.h"
#include "vmm/tty.h"
#include "vmm/vm.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int failed(const struct err *e)
{
    fprintf(stderr, "cubby-vmm: %s\n", e->text);
    return END_EXIT_SETUP;
}

static int probe(bool json)
{
    struct probe p;
    probe_run(&p, KVM_DEVICE);
    if (json)
        probe_print_json(&p, stdout);
    else
        probe_print(&p, stdout);
    return probe_usable(&p) ? 0 : 1;
}

/* The VM's life between its making and its end, with the terminal and the signals in our hands. */
static int run_vm(struct vm *vm, struct end *end, struct err *e)
{
    const struct vm_config *c = vm->config;
    struct tty tty = {0};
    struct control control;
    if (c->console && strcmp(c->console, "-") == 0)
        tty_make_raw(&tty);
    int r = control_start(&control, vm, &tty, c->die_with, e);
    if (r == 0) {
        vm_run(vm, end);
        report_end(vm, end);
    }
    control_forget_vm(&control);
    vm_destroy(vm); /* waits for a slow console; signals still work */
    tty_restore(&tty);
    control_stop(&control);
    return r;
}

static int run(const struct vm_config *c, uint64_t start_ns)
{
    struct err e = {0};
    struct timeline timeline;
    struct status status;
    struct vm *vm;
    struct end end;

    timeline_init(&timeline, start_ns);
    if (machine_check(c, &e) || status_init(&status, c->events, &e))
        return failed(&e);
    int r = vm_create(&vm, c, &timeline, &status, &e);
    if (r == 0) {
        status_event(&status, "created", now_ns() - start_ns, json_pack("{s:i}", "pid", (int)getpid()));
        r = run_vm(vm, &end, &e);
    }
    status_fini(&status);
    return r ? failed(&e) : end_exit_code(end.reason);
}

int main(int argc, char **argv)
{
    uint64_t start_ns = now_ns();
    struct options o;
    struct err e = {0};
    int code = 0;

    control_block_signals();
    json_object_seed(
        1); /* no hostile keys here; jansson would read /dev/urandom, which a jail does not have */
    if (options_parse(&o, argc, argv, &e))
        code = failed(&e);
    else if (o.action == ACTION_HELP)
        options_help(stdout);
    else if (o.action == ACTION_VERSION)
        printf("cubby-vmm %s\n", CUBBY_VERSION);
    else if (o.action == ACTION_PROBE)
        code = probe(o.json);
    else
        code = run(&o.config, start_ns);
    options_fini(&o);
    return code;
}
