/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one registry and its mirrors (OCI distribution-spec §3): manifests and blobs, by the rules of
 * the configuration. Requests go to the mirrors in their order and then to the registry itself; what may pass
 * (429, 5xx, silence, a cut connection) is tried again after a growing, jittered delay, or the one that the
 * server asks for; what does not pass sends us on to the next host at once.
 *
 * A client belongs to one thread, whose loop it runs on.
 */
#ifndef CUBBY_OCI_REGISTRY_H
#define CUBBY_OCI_REGISTRY_H

#include "base/err.h"
#include "base/loop.h"
#include "oci/credentials.h"
#include "oci/manifest.h"
#include "oci/oci_config.h"
#include "oci/ref.h"
#include "oci/store.h"

#include <stdbool.h>
#include <stdint.h>

struct registry;

struct registry_options {
    const struct oci_config *config; /* these three must outlive the client */
    const struct credentials *credentials;
    const char *domain; /* of the references: "docker.io" */
    int cancel_fd;      /* when it becomes readable, all that is under way ends with -ECANCELED; -1: none */
};

int registry_create(struct registry **out, struct loop *loop, const struct registry_options *o,
                    struct err *e);
/* Safe on NULL. Downloads that are under way end with -ECANCELED. */
void registry_destroy(struct registry *r);
/* Ends all that is under way, and what is started later, with -ECANCELED. */
void registry_cancel(struct registry *r);
/* HTTP requests that were sent, those to token servers and after redirects counted. */
uint64_t registry_requests(const struct registry *r);

/* A manifest or an index, its digest checked against what was asked for. */
struct registry_manifest {
    char *data; /* heap, with a NUL behind it */
    size_t len;
    char media_type[MEDIA_TYPE_MAX + 1]; /* Content-Type; "" when none came */
    struct digest digest;                /* of the bytes */
};

/*
 * These run the loop until the answer is there. `selector` is a tag or a digest of repository `path`.
 * registry_head_manifest() asks only for the digest, which some registries count less than a download;
 * -ENODATA when the answer does not tell.
 */
int registry_get_manifest(struct registry *r, const char *path, const char *selector,
                          struct registry_manifest *out, struct err *e);
int registry_head_manifest(struct registry *r, const char *path, const char *selector, struct digest *out,
                           struct err *e);
void registry_manifest_fini(struct registry_manifest *m);

/* How a download fares. Called from the loop; `e` and the bytes are valid during the call. */
struct download_events {
    void (*waits)(void *ctx); /* another process downloads this blob; called once */
    void (*progress)(void *ctx,
                     uint64_t have); /* bytes of the blob that are there; at the start, then as they come */
    void (*got)(void *ctx, uint64_t bytes); /* so many came over the network */
    void (*retry)(void *ctx, uint64_t delay_ms, const struct err *e);
    /* 0: the blob is in the store, verified; *fetched tells whether this download brought any of it. */
    void (*done)(void *ctx, bool fetched, int ret, const struct err *e);
};

/* Starts to bring a blob into the lease's store. `done` is called from the loop, never from inside this; all
 * pointers must stay until then. */
int registry_get_blob(struct registry *r, const char *path, const struct descriptor *d,
                      struct store_lease *lease, const struct download_events *events, void *ctx,
                      struct err *e);

/* Runs the loop until *over. 0, or a negative errno of the loop. */
int registry_run(struct registry *r, const bool *over, struct err *e);

#endif
