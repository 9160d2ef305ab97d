/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thing to get from a registry, whatever it takes: hosts one after the other, authorization, retries,
 * resumption. Where the bytes go is the sink's.
 */
#ifndef CUBBY_OCI_FETCH_H
#define CUBBY_OCI_FETCH_H

#include "oci/registry_client.h"

/*
 * The calls of one fetch: for each attempt `prepare`, then `begin` when an answer of status 2xx is there,
 * `body` as its bytes come, `end` when they are complete; `retry` between two attempts; `done` once, last.
 *
 * Failures with an errno are our own host's and end the fetch; those of OCI_E_… are the registry's.
 */
struct fetch_ops {
    /* 0: sends a request for the bytes from *offset on. 1: nothing is left to get, and the fetch is done.
     * -EAGAIN: not now; is asked again soon. */
    int (*prepare)(void *ctx, uint64_t *offset, struct err *e);
    int (*begin)(void *ctx, const struct http_request *r, struct err *e); /* may be NULL */
    int (*body)(void *ctx, const void *data, size_t len, struct err *e);
    int (*end)(void *ctx, struct err *e);
    /* What came so far was wrong (OCI_E_DIGEST): forget it. May be NULL. */
    void (*reset)(void *ctx);
    void (*retry)(void *ctx, uint64_t delay_ms, const struct err *e); /* may be NULL */
    void (*done)(void *ctx, int ret, const struct err *e);            /* the fetch is no more after it */
};

struct fetch_params {
    const char *path;     /* of the repository */
    const char *kind;     /* "manifests" or "blobs" */
    const char *selector; /* tag or digest */
    const char *accept;   /* or NULL */
    bool head;
    /* Bytes of the whole; -1: not known, but little: a document, which is not resumed, and of which each
     * attempt has config->document_timeout_ms. */
    int64_t size;
    const struct fetch_ops *ops;
    void *ctx;
};

/* Copies what it needs. Nothing is called before the loop runs again. */
int fetch_start(struct registry *r, const struct fetch_params *p, struct fetch **out, struct err *e);
/* Ends it, with `done`. */
void fetch_fail(struct fetch *f, int ret, const char *why);
/* Ends it without `done`. Safe on NULL. */
void fetch_destroy(struct fetch *f);

#endif
