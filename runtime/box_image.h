/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of a box: its root file system to open, and what it says about how it wants to be run.
 *
 * Set up with the box and not changed after, so that executions of any thread may read it.
 */
#ifndef CUBBY_RUNTIME_BOX_IMAGE_H
#define CUBBY_RUNTIME_BOX_IMAGE_H

#include "cubby.h"
#include "oci/image_config.h"

#include <stdbool.h>

struct box_image {
    bool present; /* `config` holds; without it there is no image, and it is all empty */
    struct image_config config;
    char **env; /* the box's own environment; one heap block; NULL: none */
};

/*
 * Brings the image that `o` names, and opens its root file system: a descriptor. `o` was copied. Errors:
 * those of cubby_images_pull(), and CUBBY_EIMAGE for an image of a platform that guests of this host do not
 * have.
 */
int box_image_open(struct box_image *b, const struct cubby_box_options *o, struct cubby_error *error);
/* Takes a copy of the box's own environment. */
int box_image_set_env(struct box_image *b, const char *const *env, struct cubby_error *error);
/* Safe on a zeroed one. */
void box_image_fini(struct box_image *b);

/* What box_image_apply() has made. */
struct box_words {
    char **argv, **env; /* one heap block each, or NULL */
    bool of_image;      /* it is the command of an image: CUBBY_EXEC_IMAGE was set, and there is one */
    int stop_signal;    /* the image's, with CUBBY_EXEC_IMAGE; 0: SIGTERM */
};

/*
 * Puts what the box and its image say where `o` says nothing: argv (with CUBBY_EXEC_IMAGE), env, workdir,
 * user. The flag is then gone. *o refers to *w and *b afterwards; box_words_fini(w) in any case.
 */
int box_image_apply(const struct box_image *b, struct cubby_exec_options *o, struct box_words *w,
                    struct cubby_error *error);
void box_words_fini(struct box_words *w);

#endif
