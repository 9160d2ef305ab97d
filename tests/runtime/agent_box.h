/* SPDX-License-Identifier: Apache-2.0 */
/* A box whose VM is tests/runtime/agent_vmm.h, for each test; and executions of this very program in it. */
#ifndef CUBBY_TESTS_RUNTIME_AGENT_BOX_H
#define CUBBY_TESTS_RUNTIME_AGENT_BOX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/guest-init/pour.h"
#include "tests/runtime/agent_vmm.h"
#include "tests/runtime/place.h"

#define PATIENCE_MS 60000

static struct place place;
static struct cubby_box *box;
static int descriptors;
static char self[256];

static int set_up(void **state)
{
    (void)state;
    struct cubby_error e;
    alarm(120);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    descriptors = count_entries("/proc/self/fd");
    if (cubby_box_create(&box, NULL, &e) < 0 || cubby_box_start(box, &e) < 0)
        return -1;
    return cubby_box_wait_ready(box, PATIENCE_MS, &e);
}

static int tear_down(void **state)
{
    (void)state;
    cubby_box_destroy(box);
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd");
    place_remove(&place);
    if (boxes || fds != descriptors)
        fprintf(stderr, "left over: %d boxes, %d descriptors\n", boxes, fds - descriptors);
    return boxes || fds != descriptors;
}

static inline struct cubby_exec *start_argv(const char *const *argv, struct cubby_exec_options o)
{
    struct cubby_exec *x = NULL;
    struct cubby_error e;
    o.size = sizeof(o);
    o.argv = argv;
    if (cubby_exec_start(&x, box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

/* What this program may be apart from a test; -1 when it is one. */
static inline int other_main(int argc, char **argv)
{
    if (!is_fake_vmm(argv))
        return pour_main(argc, argv);
    int code = agent_vmm_main(argv);
    fflush(NULL);
    _exit(code);
}

#endif
