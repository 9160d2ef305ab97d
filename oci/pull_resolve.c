/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what a name stands for is first looked for in the store, where the policy allows that.
 * Else the registry is asked, and an index is followed, at most limits.index_depth deep, to the manifest for
 * our platform. Manifests go to the store as they came; indexes do not, since nothing is made of them: the
 * reference keeps the digest of the first one, which is what a later HEAD compares.
 */
#include "base/log.h"
#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/pull_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes over what the store has under the name. 0, or OCI_E_NOT_FOUND, also for what the disk has damaged. */
static int from_store(struct pull *p, struct err *e)
{
    struct image_ref ref;
    int ret = store_ref_get(p->store, p->name, &p->platform, &ref, e);
    if (ret < 0)
        return ret;
    p->manifest_descriptor = ref.manifest;
    p->source = ref.source;
    p->platform_known = true; /* it was compared when the reference was written */
    image_ref_fini(&ref);
    ret = store_lease_add(p->lease, &p->manifest_descriptor.digest, e);
    if (ret == 0)
        ret = store_manifest_load(p->store, &p->manifest_descriptor.digest, &p->opt->config->limits,
                                  &p->manifest, e);
    bool damaged = ret == OCI_E_DIGEST && store_blob_remove_damaged(p->store, &p->manifest_descriptor.digest);
    return ret == -ENOENT || damaged ? OCI_E_NOT_FOUND : ret;
}

/* A manifest for our platform: keeps it. */
static int take_manifest(struct pull *p, const struct registry_manifest *got, struct err *e)
{
    int ret = manifest_parse(&p->manifest, got->data, got->len, &p->opt->config->limits, e);
    if (ret < 0)
        return ret;
    struct descriptor *d = &p->manifest_descriptor;
    d->digest = got->digest;
    d->size = got->len;
    snprintf(d->media_type, sizeof(d->media_type), "%s", p->manifest.media_type);
    ret = store_blob_put(p->lease, &got->digest, got->data, got->len, e);
    if (ret < 0)
        manifest_fini(&p->manifest);
    return ret;
}

/* An index: the entry for our platform goes to *next. */
static int choose(struct pull *p, const struct registry_manifest *got, struct descriptor *next, struct err *e)
{
    struct image_index index;
    const struct index_entry *entry;
    int ret = index_parse(&index, got->data, got->len, &p->opt->config->limits, e);
    if (ret < 0)
        return ret;
    ret = index_choose(&index, &p->platform, &entry, e);
    if (ret == 0) {
        *next = entry->manifest;
        p->platform_known = entry->has_platform;
    }
    index_fini(&index);
    return ret;
}

/* One answer of the registry. 1: it was the manifest; 0: go on with *next. */
static int take_answer(struct pull *p, const struct registry_manifest *got, struct descriptor *next,
                       struct err *e)
{
    enum media_kind kind;
    int ret = manifest_kind(got->data, got->len, got->media_type, &p->opt->config->limits, &kind, e);
    if (ret < 0)
        return ret;
    if (kind == MEDIA_INDEX)
        return choose(p, got, next, e);
    ret = take_manifest(p, got, e);
    return ret < 0 ? ret : 1;
}

static int from_registry(struct pull *p, struct err *e)
{
    struct descriptor next = {0};
    const char *selector = oci_ref_selector(p->ref);
    for (uint64_t depth = 0; depth <= p->opt->config->limits.index_depth; depth++) {
        struct registry_manifest got;
        int ret = registry_get_manifest(p->registry, p->ref->path, selector, &got, e);
        if (ret < 0)
            return ret;
        if (depth == 0)
            p->source = got.digest;
        if (depth > 0 && got.len != next.size)
            ret = err_set(e, OCI_E_DIGEST, "manifest %s has %zu bytes, not %llu as the index says", selector,
                          got.len, (unsigned long long)next.size);
        else
            ret = take_answer(p, &got, &next, e);
        registry_manifest_fini(&got);
        if (ret != 0)
            return ret < 0 ? ret : 0;
        selector = next.digest.text;
    }
    return err_set(e, OCI_E_LIMIT, "an index inside more than %llu others (limit \"index_depth\")",
                   (unsigned long long)p->opt->config->limits.index_depth);
}

/* Whether the registry still means by the name what the store has: 1 or 0; or the failure. */
static int is_current(struct pull *p, struct err *e)
{
    struct digest now;
    struct err why = {0};
    int ret = registry_head_manifest(p->registry, p->ref->path, oci_ref_selector(p->ref), &now, &why);
    /* Not every registry tells the digest, or knows HEAD: then the manifest has to be read. */
    if (ret == -ENODATA || ret == OCI_E_REGISTRY)
        return 0;
    if (ret < 0)
        return err_set(e, ret, "%s", why.text);
    return digest_equal(&now, &p->source) || digest_equal(&now, &p->manifest_descriptor.digest);
}

int pull_resolve(struct pull *p, struct err *e)
{
    int ret = from_store(p, e);
    if (ret < 0 && ret != OCI_E_NOT_FOUND)
        return ret;
    bool have = ret == 0;
    /* A digest stands for the same bytes for ever. */
    if (have && (p->opt->policy != PULL_ALWAYS || p->ref->has_digest))
        return 0;
    if (p->opt->policy == PULL_NEVER)
        return err_set(e, OCI_E_NOT_FOUND, "it is not in the store");
    pull_tell(p, (struct pull_event){.phase = PULL_RESOLVING});
    ret = pull_need_registry(p, e);
    if (ret == 0 && have)
        ret = is_current(p, e);
    if (ret == 1)
        return 0;
    if (have)
        manifest_fini(&p->manifest);
    p->platform_known = false;
    return ret < 0 ? ret : from_registry(p, e);
}
