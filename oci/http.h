/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests on an event loop, by libcurl: as many at a time as are started, HTTP/2 where the server has
 * it, connections kept and shared.
 *
 * What libcurl alone does not promise, and this module does:
 *   - plain http is spoken only to hosts that the configuration names insecure, and never after a redirect
 *     from https;
 *   - a redirect to another origin (scheme, host or port) does not take the Authorization header along, and
 *     one of a POST is not followed, as its body holds secrets;
 *   - a time-out is one without any byte; one on the whole only where the request has one (`total_ms`). What
 *     came while the loop was away, in our own long work, is looked at before a host is called silent;
 *   - headers, redirects and URLs are bounded;
 *   - failures come as classes: OCI_E_NO_HOST, OCI_E_REFUSED, OCI_E_TLS, -ETIMEDOUT (the host fell silent),
 *     -ECONNRESET (the connection was cut), OCI_E_REGISTRY (no HTTP, or an answer beyond our bounds), and
 *     -ENOMEM. The text names the host.
 *
 * Proxies are taken from the environment, as curl does. All functions belong to the thread of the loop.
 */
#ifndef CUBBY_OCI_HTTP_H
#define CUBBY_OCI_HTTP_H

#include "base/err.h"
#include "base/loop.h"
#include "oci/oci_config.h"
#include "oci/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_REDIRECTS_MAX 10
#define HTTP_HEADERS_MAX   65536 /* bytes of all headers of one answer */

struct http;
struct http_request;

/*
 * What happens to a request, in this order: `head` once, when an answer that is no redirect has begun; `body`
 * any number of times; `done` once, when it is over, after which the request is no more. `head` and `body`
 * may end the request with a negative errno or OCI_E_…, which comes back in `done`; they must not call
 * http_start() or http_cancel(). `head` may be NULL, `body` too (the bytes are dropped). An answer of any
 * status is a success of HTTP: ret 0.
 */
struct http_ops {
    int (*head)(void *ctx, const struct http_request *r, struct err *e);
    int (*body)(void *ctx, const void *data, size_t len, struct err *e);
    void (*done)(void *ctx, const struct http_request *r, int ret, const struct err *e);
};

struct http_params {
    const char *url;
    bool head;                 /* HEAD in place of GET */
    const char *accept;        /* value of the Accept header, or NULL */
    const char *authorization; /* value of the Authorization header, or NULL */
    uint64_t offset;           /* asks for the bytes from here on (Range); 0: for all */
    uint64_t total_ms;         /* for all of it, redirects included; 0: no end, as for what may be large */
    const char *form;          /* a POST with this body (application/x-www-form-urlencoded); NULL: none */
    const struct http_ops *ops;
    void *ctx;
};

/* `config` must stay as it is, and outlive the client. */
int http_create(struct http **out, struct loop *loop, const struct oci_config *config, struct err *e);
/* Ends all requests without a word to their owners. Safe on NULL. Not from inside a callback. */
void http_destroy(struct http *h);

/* Copies what it needs of *p. *out stays valid until `done`. On failure `done` is not called. */
int http_start(struct http *h, const struct http_params *p, struct http_request **out, struct err *e);
/* Ends the request; `done` is not called. Safe on NULL. */
void http_cancel(struct http_request *r);

/* --- The answer: in `head` and `done`. --- */

int http_status(const struct http_request *r);
/* The nth header of this name, or NULL. Valid until the callback returns. */
const char *http_header(const struct http_request *r, const char *name, unsigned nth);
/* Content-Length, or -1. */
int64_t http_content_length(const struct http_request *r);
/* The first byte's position by Content-Range of a 206, or -1. */
int64_t http_range_start(const struct http_request *r);
/* Where the answer came from: after redirects another than was asked. */
const struct url_origin *http_origin(const struct http_request *r);

/* As it was given to http_create(). */
const struct oci_config *http_config(const struct http *h);
/* Requests that were sent so far, redirects counted. */
uint64_t http_count(const struct http *h);

#endif
