/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization of requests to registries (the distribution project's token authentication specification):
 * what a server's challenge asks for is looked for among the user's credentials and, for Bearer, exchanged
 * for a token at the server that the challenge names. Answers are kept per origin and scope until they
 * expire.
 *
 * Secrets go to the registry's origin and to the token server that it names, over https; over plain http only
 * where the configuration names the host insecure (oci/http.h holds that). All functions belong to the thread
 * of the HTTP client's loop.
 */
#ifndef CUBBY_OCI_AUTH_H
#define CUBBY_OCI_AUTH_H

#include "base/err.h"
#include "oci/challenge.h"
#include "oci/credentials.h"
#include "oci/http.h"

struct auth;
struct auth_job;

/* What is asked: by a 401 of `origin`, which is the registry `registry` in the words of references, for
 * `scope`. The strings need to stay only during the call. */
struct auth_question {
    const struct url_origin *origin;
    const char *registry;
    const char *scope;
    const struct challenges *challenges;
    /* Called when there is a new answer (0), or there is none: OCI_E_UNAUTHORIZED; -EAGAIN, -ETIMEDOUT or
     * -ECONNRESET when asking once more may help; other classes of oci/http.h. */
    void (*done)(void *ctx, int ret, const struct err *e);
    void *ctx;
};

/* The arguments must outlive the object. A credential helper is waited for until `cancel_fd` is readable. */
int auth_create(struct auth **out, struct http *http, const struct credentials *c, int cancel_fd,
                struct err *e);
/* Safe on NULL. Jobs must be cancelled or done. */
void auth_destroy(struct auth *a);

/* The Authorization header for a request, as far as is known; else NULL. Valid until the next call. */
const char *auth_value(struct auth *a, const struct url_origin *origin, const char *scope);

/* Forgets what is kept for the question's origin and scope, since it was refused, and looks for a new answer.
 * 1: there is one already (`done` is not called); 0: `done` will be called; a failure as for `done`. */
int auth_answer(struct auth *a, const struct auth_question *q, struct auth_job **out, struct err *e);
/* `done` is not called. Safe on NULL. */
void auth_cancel(struct auth_job *j);

/* Reads a token server's answer: the token to *token (heap), its life in seconds to *seconds. For auth.c, the
 * tests and the fuzzer. */
int auth_parse_token(const char *text, size_t len, char **token, unsigned *seconds, struct err *e);

#endif
