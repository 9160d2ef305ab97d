/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that is being written as a tar. For oci/tar_folder.c and oci/tar_object.c. */
#ifndef CUBBY_OCI_TAR_INNER_H
#define CUBBY_OCI_TAR_INNER_H

#include "oci/tar_folder.h"

#include <archive.h>
#include <stdbool.h>
#include <sys/stat.h>

#define PATH_LEN_MAX 4096
#define COPY_CHUNK   (256 * 1024)

struct tar {
    struct archive *a;
    tar_sink_fn *sink;
    void *context;
    int sink_ret;           /* what the sink returned when it failed */
    bool in_header, failed; /* failed: nothing more is to be written */
    void *links;            /* of files met before: oci/tar_object.c */
    char *copy;             /* COPY_CHUNK bytes */
    char *zeros;            /* as many */
    char path[PATH_LEN_MAX];
    struct err *e;
};

/* Set t->e and return it. */
int tar_no_memory(struct tar *t);
int tar_sys_error(struct tar *t, const char *what); /* "cannot <what> '<t->path>' in it: <errno>" */
/* What libarchive says about the entry, or what the sink said before. */
int tar_write_error(struct tar *t);
/* The order of names, for qsort(3) on an array of them. */
int tar_by_name(const void *a, const void *b);

/* Writes the object at t->path, `name` in the folder `dir`; `fd` is its open file when it is a regular one.
 */
int tar_write_object(struct tar *t, int dir, const char *name, const struct stat *st, int fd);
/* Frees what t->links holds. */
void tar_links_free(struct tar *t);

#endif
