/* SPDX-License-Identifier: Apache-2.0 */
/* One pull under way. For oci/pull*.c. */
#ifndef CUBBY_OCI_PULL_WORK_H
#define CUBBY_OCI_PULL_WORK_H

#include "base/loop.h"
#include "oci/image_config.h"
#include "oci/pull.h"
#include "oci/pull_merge.h"
#include "oci/registry.h"

struct pull;

/* A blob of the image. */
struct pull_blob {
    struct pull *pull;
    size_t layer; /* or PULL_CONFIG */
    const struct descriptor *descriptor;
    uint64_t have;
    bool there;             /* in the store, verified */
    bool again;             /* an earlier layer is the same: it comes with that one */
    struct pull_blob *same; /* the next layer that is the same as this one, or NULL */
};

struct pull {
    struct store *store;
    struct store_lease *lease;
    const struct oci_ref *ref;
    const struct pull_options *opt;
    struct pull_result *result;
    struct platform platform;
    char name[REF_TEXT_MAX];
    struct loop *loop;
    struct registry *registry; /* NULL until the network is needed */

    /* What the reference stands for. */
    bool resolved;
    struct descriptor manifest_descriptor;
    struct digest source;
    bool platform_known; /* an index said so */
    struct manifest manifest;
    bool has_config;
    struct image_config config;

    /* Its content: blob[0] is the configuration. */
    struct pull_blob *blob;
    size_t nblobs, next, running, fed;
    struct merge_job *merge;
    bool merge_over;
    int merge_fd;  /* eventfd: the merge has news */
    int cancel_fd; /* a copy of the caller's */
    struct merge_job_news told;
    struct loop_source merge_source, cancel_source;
    bool over;
    int ret; /* the first failure */
    struct err err;
};

void pull_tell(const struct pull *p, struct pull_event event);
/* The registry client, made when it is first needed. */
int pull_need_registry(struct pull *p, struct err *e);

/* Fills manifest_descriptor, source and manifest: from the store, or from the registry. oci/pull_resolve.c */
int pull_resolve(struct pull *p, struct err *e);
/* Brings all blobs into the store and merges. oci/pull_content.c */
int pull_content(struct pull *p, struct err *e);

#endif
