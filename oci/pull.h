/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a reference to a root image: resolves it at its registry, downloads what the store does not have,
 * merges the layers while later ones still come, and writes the reference. The same for an image whose
 * manifest is in the store already and whose layers or merged image are not: that needs the network only for
 * what is missing.
 */
#ifndef CUBBY_OCI_PULL_H
#define CUBBY_OCI_PULL_H

#include "base/err.h"
#include "oci/credentials.h"
#include "oci/manifest.h"
#include "oci/oci_config.h"
#include "oci/ref.h"
#include "oci/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pull_phase {
    PULL_RESOLVING,   /* the registry is asked what the reference stands for */
    PULL_RESOLVED,    /* `manifest` says of which layers the image consists */
    PULL_EXISTS,      /* of one blob: it is there */
    PULL_WAITING,     /* another process downloads it */
    PULL_DOWNLOADING, /* `have` of `total` bytes */
    PULL_RETRYING,    /* `reason`; once more in `delay_ms` */
    PULL_VERIFYING,   /* all bytes are there */
    PULL_DOWNLOADED,  /* and are what the digest promises */
    PULL_MERGING,     /* of one layer: it goes into the root image */
    PULL_MERGED,      /* it is in */
    PULL_FINISHING,   /* the root image is written to the end */
};

#define PULL_CONFIG SIZE_MAX /* in place of a layer's index: the image configuration */

struct pull_event {
    enum pull_phase phase;
    const struct manifest *manifest; /* from PULL_RESOLVED on */
    size_t layer;                    /* index in the manifest, or PULL_CONFIG */
    uint64_t have, total;
    uint64_t delay_ms;
    const char *reason;
};

enum pull_policy {
    PULL_IF_MISSING, /* what the store has under this name is taken, unseen by the registry */
    PULL_ALWAYS,     /* the registry is asked what the name stands for now */
    PULL_NEVER,      /* the registry is not asked for anything: OCI_E_NOT_FOUND when something is missing */
};

struct pull_options {
    const struct oci_config *config;
    const struct credentials *credentials;
    const struct platform *platform; /* NULL: the host's */
    enum pull_policy policy;
    int cancel_fd; /* readable: -ECANCELED soon; -1: never */
    /* Called in the caller's thread, what the event points to is valid during the call. May be NULL. */
    void (*progress)(void *ctx, const struct pull_event *event);
    void *ctx;
};

/* What was done, to be shown and to be counted. All zero but `image` for an image that was there. */
struct pull_result {
    struct image_ref image; /* as it stands in the store */
    uint64_t requests;      /* over HTTP, to all hosts */
    uint64_t blobs;         /* that were downloaded, at least in part */
    uint64_t bytes;         /* of them, by this call */
    uint64_t merges;        /* 1: the root image was made by this call */
};

/*
 * Blocks until the image is in the store, merged and referenced. Classes of failure: those of oci_error.h,
 * and errnos of the host (-ENOSPC, -ECANCELED…). The text names the reference, and the registry where one is
 * concerned. What was downloaded stays for the next attempt. Any number of threads and processes may do so at
 * once: each blob is downloaded once.
 */
int image_pull(struct store *s, const struct oci_ref *ref, const struct pull_options *o,
               struct pull_result *result, struct err *e);
/* Safe on a zeroed one. */
void pull_result_fini(struct pull_result *r);

#endif
