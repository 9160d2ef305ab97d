/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry's answer of another status than 2xx means. */
#ifndef CUBBY_OCI_REGISTRY_STATUS_H
#define CUBBY_OCI_REGISTRY_STATUS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATUS_BODY_MAX 16384 /* bytes of the answer that are looked at */

struct status_answer {
    int status;
    const char *host;
    const char *object; /* what was asked for: "manifest 'latest' of 'library/x'" */
    bool is_manifest;
    const char *body; /* may hold the registry's own words (distribution-spec §error-codes); may be NULL */
    size_t len;
};

/* Fills *e. OCI_E_UNAUTHORIZED, OCI_E_NOT_FOUND, OCI_E_REGISTRY; or -EAGAIN for what may pass. */
int registry_status(const struct status_answer *a, struct err *e);

/* Retry-After (RFC 9110 §10.2.3), seconds or a date, in milliseconds from now on; 0 when it says nothing that
 * we understand. At most `max_ms`. `text` may be NULL. */
uint64_t retry_after_ms(const char *text, uint64_t max_ms);

#endif
