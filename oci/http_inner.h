/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the HTTP client share: oci/http.c drives libcurl, oci/http_request.c is one request.
 */
#ifndef CUBBY_OCI_HTTP_INNER_H
#define CUBBY_OCI_HTTP_INNER_H

#include "oci/http.h"

#include <curl/curl.h>

struct http {
    struct loop *loop;
    const struct oci_config *config;
    CURLM *multi;
    struct loop_timer timer; /* curl's */
    struct http_request *first;
    uint64_t count;
};

struct http_request {
    struct http *http;
    struct http_request *next, *prev;
    CURL *easy;
    struct curl_slist *headers;
    struct http_params params; /* its strings are copies */
    char *url;
    struct url_origin origin;
    unsigned redirects;
    size_t header_bytes, redirect_bytes;
    bool head_whole; /* the empty line behind the headers was seen */
    bool head_given;
    uint64_t last_ns;        /* when a byte came last */
    uint64_t looked_ns;      /* last_ns, when it was found to be too long ago; 0: it was not */
    struct loop_timer stall; /* looks at last_ns */
    struct loop_timer total; /* params.total_ms */
    int ret;                 /* a failure that was found inside a callback */
    struct err err;
    char curl_text[CURL_ERROR_SIZE];
};

/* Takes the request out of the multi handle. */
void http_remove(struct http_request *r);
/* libcurl is done with the request, which is no longer in the multi handle. */
void http_request_complete(struct http_request *r, CURLcode code);

#endif
