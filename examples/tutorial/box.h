/* SPDX-License-Identifier: Apache-2.0 */
/* What each program of this folder begins with: a box of an image, and a command in it. */
#ifndef CUBBY_EXAMPLES_TUTORIAL_BOX_H
#define CUBBY_EXAMPLES_TUTORIAL_BOX_H

#include <cubby.h>

#include <stdio.h>
#include <string.h>

/* Makes and starts a box: 0, or a code with its reason in *error and *box NULL. */
static inline int open_box(struct cubby_box **box, const char *image, struct cubby_error *error)
{
    struct cubby_box_options options = {.size = sizeof(options), .image = image};
    int ret = cubby_box_create(box, &options, error);
    if (ret == 0)
        ret = cubby_box_start(*box, error);
    if (ret == 0)
        ret = cubby_box_wait_ready(*box, CUBBY_FOREVER, error);
    if (ret < 0) {
        cubby_box_destroy(*box);
        *box = NULL;
    }
    return ret;
}

static inline int report(const struct cubby_error *error)
{
    fprintf(stderr, "%s: %s\n", cubby_code_name(error->code), error->message);
    return 1;
}

/* A command with its output, up to its end: 0, or a code with its reason in *error. */
static inline int run(struct cubby_box *box, const char *const *argv, struct cubby_output *output,
                      struct cubby_error *error)
{
    struct cubby_exec_options options = {.size = sizeof(options), .argv = argv};
    *output = (struct cubby_output){.size = sizeof(*output)};
    return cubby_run(box, &options, output, error);
}

#endif
