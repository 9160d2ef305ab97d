/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image configuration (OCI image-spec config.md, Docker's image v1.2): how the image wants to be run, and
 * which layers it is made of.
 */
#ifndef CUBBY_OCI_IMAGE_CONFIG_H
#define CUBBY_OCI_IMAGE_CONFIG_H

#include "base/err.h"
#include "oci/digest.h"
#include "oci/limits.h"
#include "oci/platform.h"

#include <stdbool.h>
#include <stddef.h>

struct image_label {
    char *name, *value;
};

struct image_history {
    char *created, *created_by, *comment; /* NULL when not said */
    bool empty_layer;                     /* made no layer */
};

/* Lists are NULL-terminated; a list or string that the image does not have (or has empty) is NULL. */
struct image_config {
    struct platform platform;
    char *created; /* RFC 3339, as the image says it */
    char *author;
    char **env; /* "NAME=value" */
    char *user; /* "name|uid[:group|gid]" */
    char *workdir;
    char **entrypoint, **cmd;
    char *stop_signal;         /* as the image says it: see image_config_stop_signal() */
    char **volumes;            /* paths, sorted */
    char **exposed_ports;      /* "80/tcp", sorted */
    struct image_label *label; /* sorted by name */
    size_t nlabels;
    struct digest *diff_id; /* of the inflated layers, bottom first */
    size_t ndiff_ids;
    struct image_history *history;
    size_t nhistory;
};

/* Fills *out, which need not be initialised; on failure there is nothing to free. As strict as
 * oci/manifest.h. */
int image_config_parse(struct image_config *out, const void *data, size_t len,
                       const struct oci_limits *limits, struct err *e);
void image_config_fini(struct image_config *c);

/*
 * The command line of a box: Docker's rules. `entrypoint` is the user's (NULL: none given; an empty list:
 * given as empty, which takes the image's away), `args` are the user's words behind the image (NULL or empty:
 * none).
 *   - the user's entrypoint replaces the image's, and drops the image's Cmd;
 *   - the user's words replace the image's Cmd;
 *   - the result is entrypoint, then words or Cmd.
 * -EINVAL when nothing is left to run. *out is one heap block: free(*out).
 */
int image_config_argv(const struct image_config *c, const char *const *entrypoint, const char *const *args,
                      char ***out, struct err *e);

/*
 * The environment of a box: the image's, then `set` ("NAME=value" replaces in place or is added; "NAME" alone
 * takes the variable away). `set` may be NULL. *out is one heap block: free(*out).
 */
int image_config_env(const struct image_config *c, const char *const *set, char ***out, struct err *e);

/* The number of the signal that asks the image's command to end: SIGTERM when not said; -EINVAL when it is no
 * signal of Linux. Takes "SIGQUIT", "QUIT", "3", "SIGRTMIN+3". */
int image_config_stop_signal(const struct image_config *c, struct err *e);

#endif
