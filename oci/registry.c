/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the client owns one HTTP client, its tokens, and the list of what is under way; hosts
 * to ask are derived from the configuration when they are needed. All work is done by fetches (oci/fetch.h),
 * which call back from the loop; what looks like a plain call runs the loop until its fetch is over.
 */
#include "oci/registry.h"

#include "base/own.h"
#include "oci/fetch.h"
#include "oci/oci_error.h"
#include "oci/registry_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* Docker Hub's references name docker.io, its registry is elsewhere. */
#define HUB_HOST "registry-1.docker.io"

void registry_cancel(struct registry *r)
{
    r->cancelled = true;
    loop_remove(&r->cancel);
    while (r->first)
        fetch_fail(r->first, -ECANCELED, "cancelled");
}

static void cancel_due(struct loop_source *s, uint32_t events)
{
    (void)events;
    registry_cancel(CONTAINER_OF(s, struct registry, cancel));
}

int registry_create(struct registry **out, struct loop *loop, const struct registry_options *o, struct err *e)
{
    struct registry *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(e, -ENOMEM, "cannot create a registry client: no memory");
    r->loop = loop;
    r->config = o->config;
    r->own = oci_config_find(o->config, o->domain);
    snprintf(r->domain, sizeof(r->domain), "%s", o->domain);
    int ret = http_create(&r->http, loop, o->config, e);
    if (ret == 0)
        ret = auth_create(&r->auth, r->http, o->credentials, o->cancel_fd, e);
    if (ret == 0 && o->cancel_fd >= 0) {
        ret = loop_add(loop, &r->cancel, o->cancel_fd, EPOLLIN, cancel_due);
        if (ret < 0)
            err_set(e, ret, "cannot watch for a cancellation: %s", strerror(-ret));
    }
    if (ret < 0)
        registry_destroy(r);
    else
        *out = r;
    return ret;
}

void registry_destroy(struct registry *r)
{
    if (!r)
        return;
    loop_remove(&r->cancel);
    while (r->first)
        fetch_fail(r->first, -ECANCELED, "cancelled");
    auth_destroy(r->auth);
    http_destroy(r->http);
    free(r);
}

uint64_t registry_requests(const struct registry *r)
{
    return http_count(r->http);
}

int registry_run(struct registry *r, const bool *over, struct err *e)
{
    while (!*over) {
        int ret = loop_once(r->loop, -1);
        if (ret < 0)
            return err_set(e, ret, "cannot wait for registry '%s': %s", r->domain, strerror(-ret));
    }
    return 0;
}

void endpoint_fini(struct endpoint *ep)
{
    free(ep->base);
    *ep = (struct endpoint){0};
}

/* The URL at which the registry itself is. */
static char *own_base(const struct registry *r)
{
    const char *host = strcmp(r->domain, REF_DOCKER_HUB) == 0 ? HUB_HOST : r->domain;
    bool plain = r->own && r->own->insecure;
    char *base;
    return asprintf(&base, "%s://%s", plain ? "http" : "https", host) < 0 ? NULL : base;
}

unsigned registry_mirrors(const struct registry *r)
{
    return r->own ? (unsigned)r->own->nmirrors : 0;
}

int registry_endpoint(const struct registry *r, unsigned index, struct endpoint *out, struct err *e)
{
    unsigned mirrors = registry_mirrors(r);
    *out = (struct endpoint){.is_mirror = index < mirrors};
    if (index > mirrors)
        return 0;
    out->base = r->own && out->is_mirror ? strdup(r->own->mirror[index]) : own_base(r);
    int ret = out->base ? url_origin_parse(&out->origin, out->base, e) : err_set(e, -ENOMEM, "no memory");
    if (ret < 0) {
        endpoint_fini(out);
        return ret;
    }
    url_origin_name(&out->origin, out->name);
    return 1;
}
