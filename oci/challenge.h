/* SPDX-License-Identifier: Apache-2.0 */
/* The WWW-Authenticate header (RFC 9110 §11.6.1): which ways of logging in a server offers. */
#ifndef CUBBY_OCI_CHALLENGE_H
#define CUBBY_OCI_CHALLENGE_H

#include "base/err.h"

#include <stddef.h>

#define CHALLENGES_MAX      8 /* of one answer; more are passed over */
#define CHALLENGE_VALUE_MAX 1023

enum auth_scheme { AUTH_UNKNOWN, AUTH_BASIC, AUTH_BEARER };

/* The parameters that the registry protocol uses; "" when not given. Others are checked and passed over. */
struct challenge {
    enum auth_scheme scheme;
    char realm[CHALLENGE_VALUE_MAX + 1];
    char service[CHALLENGE_VALUE_MAX + 1];
    char scope[CHALLENGE_VALUE_MAX + 1];
    char error[CHALLENGE_VALUE_MAX + 1]; /* "insufficient_scope", "invalid_token" */
};

struct challenges {
    size_t count;
    struct challenge item[CHALLENGES_MAX];
};

/* Adds the challenges of one header's value. OCI_E_REGISTRY when it does not follow the grammar; what came
 * before the fault is kept. */
int challenges_add(struct challenges *c, const char *value, struct err *e);

/* The one that we would answer: the first Bearer with a realm, else the first Basic, else NULL. */
const struct challenge *challenges_choose(const struct challenges *c);

#endif
