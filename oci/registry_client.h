/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the registry client; for oci/registry*.c and oci/fetch.c alone. */
#ifndef CUBBY_OCI_REGISTRY_CLIENT_H
#define CUBBY_OCI_REGISTRY_CLIENT_H

#include "oci/auth.h"
#include "oci/http.h"
#include "oci/registry.h"

struct fetch;

struct registry {
    struct loop *loop;
    const struct oci_config *config;
    const struct registry_config *own; /* the registry's entry there, or NULL */
    char domain[REF_DOMAIN_MAX + 1];
    struct http *http;
    struct auth *auth;
    struct loop_source cancel;
    bool cancelled;
    uint32_t dead_mirrors; /* bits: could not be reached, so not asked again */
    struct fetch *first;   /* under way */
};

/* A host to ask. */
struct endpoint {
    char *base; /* URL up to and without "/v2" */
    struct url_origin origin;
    char name[URL_ORIGIN_MAX]; /* for texts */
    bool is_mirror;
};

unsigned registry_mirrors(const struct registry *r);
/* The index-th one: mirrors first, the registry itself last. 1; 0 when there are no more; -ENOMEM. */
int registry_endpoint(const struct registry *r, unsigned index, struct endpoint *out, struct err *e);
void endpoint_fini(struct endpoint *ep);

#endif
