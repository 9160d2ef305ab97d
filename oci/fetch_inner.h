/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a fetch: oci/fetch.c sends its requests, oci/fetch_answer.c reads what comes, oci/fetch_retry.c
 * says what follows a failure. */
#ifndef CUBBY_OCI_FETCH_INNER_H
#define CUBBY_OCI_FETCH_INNER_H

#include "oci/fetch.h"

struct fetch {
    struct registry *registry;
    struct fetch *next, *prev;
    struct fetch_params params; /* strings are copies */
    char *scope;

    /* The host that is asked, and how it fared. */
    unsigned host; /* index for registry_endpoint() */
    struct endpoint endpoint;
    unsigned attempt;
    bool started_over;    /* once, at this host: its bytes were wrong */
    bool was_misled;      /* likewise: its answer was for something else, and nothing new came since */
    char mirror_err[160]; /* what the first mirror said */

    /* One attempt. */
    bool fresh_grant; /* authorization was asked for */
    bool resend;      /* with it: no attempt of its own */
    bool whole;       /* the next request is for all, whatever is there already */
    uint64_t have;    /* bytes that are there already */
    uint64_t from;    /* what is asked for begins here: at `have`, or at 0 */
    uint64_t skip;    /* bytes that come and are there already */
    uint64_t got;     /* new bytes */
    int64_t expect;   /* new bytes that are missing, or -1 */
    bool misled;      /* the answer is for something else than was asked: none of it was taken */
    bool own_failure; /* of our host: no other registry will help */
    uint64_t retry_after_ms;
    int status;
    struct challenges challenges;
    char *words; /* the start of an answer that is no 2xx */
    size_t words_len;
    struct err err;

    /* What is under way: one of them. */
    struct loop_timer timer;
    struct http_request *request;
    struct auth_job *job;
};

/* oci/fetch.c */

/* Makes the next attempt after so long. */
void fetch_later(struct fetch *f, uint64_t delay_ms);
/* Ends it, with what is in f->err. */
void fetch_over(struct fetch *f, int ret);

/* oci/fetch_answer.c */

extern const struct http_ops fetch_http_ops;
/* Notes that a code of the sink's with an errno is our own host's failure. Returns it. */
int fetch_of_sink(struct fetch *f, int ret);

/* oci/fetch_retry.c */

/* An attempt came to nothing; f->err says why. The fetch may be no more after it. */
void fetch_failed(struct fetch *f, int ret);

#endif
