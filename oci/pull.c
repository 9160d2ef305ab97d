/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three steps under one lease, which keeps what was gathered from garbage collection
 * until the reference is written: what does the name stand for (oci/pull_resolve.c), bring and merge its
 * content (oci/pull_content.c), write the reference. An image that is complete, with its merged root image,
 * is found so before any of that begins.
 */
#include "oci/pull.h"

#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/pull_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pull_result_fini(struct pull_result *r)
{
    image_ref_fini(&r->image);
    *r = (struct pull_result){0};
}

void pull_tell(const struct pull *p, struct pull_event event)
{
    event.manifest = event.phase == PULL_RESOLVING ? NULL : &p->manifest;
    if (p->opt->progress)
        p->opt->progress(p->opt->ctx, &event);
}

int pull_need_registry(struct pull *p, struct err *e)
{
    if (p->registry)
        return 0;
    const struct registry_options o = {
        .config = p->opt->config,
        .credentials = p->opt->credentials,
        .domain = p->ref->domain,
        .cancel_fd = p->opt->cancel_fd,
    };
    return registry_create(&p->registry, p->loop, &o, e);
}

/* The image is there, merged and all. 1, 0 or a failure. */
static int is_complete(struct pull *p, struct err *e)
{
    struct err why = {0};
    int ret = store_ref_get(p->store, p->name, &p->platform, &p->result->image, &why);
    if (ret == 0) {
        ret = store_image_is_ready(p->store, &p->result->image, &why);
        if (ret == 1)
            return 1;
        image_ref_fini(&p->result->image);
        p->result->image = (struct image_ref){0};
    }
    return ret == 0 || ret == -ENOENT || ret == OCI_E_NOT_FOUND ? 0 : err_set(e, ret, "%s", why.text);
}

static int write_reference(struct pull *p, struct err *e)
{
    struct image_ref ref = {
        .name = p->name,
        .platform = p->platform,
        .manifest = p->manifest_descriptor,
        .source = p->source,
    };
    int ret = store_ref_put(p->lease, &ref, e);
    return ret < 0 ? ret : store_ref_get(p->store, p->name, &p->platform, &p->result->image, e);
}

static int pull_steps(struct pull *p, struct err *e)
{
    int ret = store_lease_begin(p->store, &p->lease, e);
    if (ret == 0)
        ret = loop_create(&p->loop, e);
    if (ret == 0)
        ret = pull_resolve(p, e);
    if (ret < 0)
        return ret;
    p->resolved = true;
    ret = pull_content(p, e);
    return ret < 0 ? ret : write_reference(p, e);
}

static void pull_fini(struct pull *p)
{
    if (p->registry)
        p->result->requests += registry_requests(p->registry);
    registry_destroy(p->registry);
    loop_remove(&p->merge_source);
    loop_remove(&p->cancel_source);
    fd_closep(&p->merge_fd);
    fd_closep(&p->cancel_fd);
    loop_destroy(p->loop);
    free(p->blob);
    if (p->has_config)
        image_config_fini(&p->config);
    if (p->resolved)
        manifest_fini(&p->manifest);
    store_lease_end(p->lease);
}

static void pull_init(struct pull *p, struct store *s, const struct oci_ref *ref,
                      const struct pull_options *o, struct pull_result *result)
{
    *p = (struct pull){.store = s, .ref = ref, .opt = o, .result = result, .merge_fd = -1, .cancel_fd = -1};
    oci_ref_canonical(ref, p->name);
    if (o->platform)
        p->platform = *o->platform;
    else
        platform_host(&p->platform);
}

/* One attempt from beginning to end; p->told says how far it came. */
static int pull_once(struct pull *p, struct store *s, const struct oci_ref *ref, const struct pull_options *o,
                     struct pull_result *result, struct err *e)
{
    pull_init(p, s, ref, o, result);
    int ret = pull_steps(p, e);
    pull_fini(p);
    return ret;
}

int image_pull(struct store *s, const struct oci_ref *ref, const struct pull_options *o,
               struct pull_result *result, struct err *e)
{
    CLEANUP(mem_freep) struct pull *p = calloc(1, sizeof(*p));
    *result = (struct pull_result){0};
    if (!p)
        return err_set(e, -ENOMEM, "cannot pull an image: no memory");
    pull_init(p, s, ref, o, result);
    int ret = o->policy == PULL_ALWAYS && !ref->has_digest ? 0 : is_complete(p, e);
    if (ret == 1)
        return 0;
    if (ret == 0)
        ret = pull_once(p, s, ref, o, result, e);
    if (ret < 0 && p->told.damaged) /* what the disk has damaged is fetched, once */
        ret = pull_once(p, s, ref, o, result, e);
    if (ret < 0) {
        if (e)
            e->code = ret;
        err_prefix(e, "cannot pull '%s'", p->name);
    }
    return ret;
}
