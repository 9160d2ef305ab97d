/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that merges an image's layers as they become complete. For oci/pull*.c. */
#ifndef CUBBY_OCI_PULL_MERGE_H
#define CUBBY_OCI_PULL_MERGE_H

#include "base/err.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/store.h"

#include <stdbool.h>
#include <stddef.h>

struct merge_job;

struct merge_job_params {
    struct store *store;
    struct store_lease *lease;
    const struct digest *manifest_digest; /* these four must outlive the job */
    const struct manifest *manifest;
    const struct image_config *config;
    const struct oci_limits *limits;
    int notify_fd; /* an eventfd that is written to whenever merge_job_look() has news */
};

struct merge_job_news {
    size_t begun;   /* layers that were begun */
    size_t merged;  /* layers that are in */
    bool finishing; /* all are in, the image is being written to the end */
    bool damaged;   /* it failed because of a layer whose bytes in the store were wrong: it is removed */
    bool over;      /* the thread has nothing left to do */
};

int merge_job_start(struct merge_job **out, const struct merge_job_params *p, struct err *e);
/* The layers up to and without the nth are in the store. */
void merge_job_feed(struct merge_job *j, size_t nlayers);
/* Makes it give up soon. */
void merge_job_stop(struct merge_job *j);
void merge_job_look(struct merge_job *j, struct merge_job_news *news);
/* Waits for the thread and frees. 1: made the image; 0: it was there, or another process made it; or the
 * failure (-ECANCELED after merge_job_stop()). */
int merge_job_join(struct merge_job *j, struct err *e);

#endif
