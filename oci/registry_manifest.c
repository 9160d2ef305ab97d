/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a manifest is small, so it is gathered in memory, within the limit, and hashed when it
 * is whole. Asked for by digest it must have that digest; asked for by tag it must have the one that the
 * registry announces, if it does.
 */
#include "base/own.h"
#include "oci/fetch.h"
#include "oci/oci_error.h"
#include "oci/registry_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that we can read; a registry picks the one that it has. */
#define ACCEPT MEDIA_OCI_INDEX ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_LIST ", " MEDIA_DOCKER_MANIFEST

struct manifest_get {
    struct registry *registry;
    const char *selector;
    struct registry_manifest *out;
    struct digest announced; /* by Docker-Content-Digest; may be unset */
    bool over;
    int ret;
    struct err *e;
};

static int get_prepare(void *ctx, uint64_t *offset, struct err *e)
{
    struct manifest_get *g = ctx;
    (void)e;
    free(g->out->data);
    *g->out = (struct registry_manifest){0};
    *offset = 0;
    return 0;
}

static int get_begin(void *ctx, const struct http_request *r, struct err *e)
{
    struct manifest_get *g = ctx;
    const char *type = http_header(r, "Content-Type", 0),
               *digest = http_header(r, "Docker-Content-Digest", 0);
    g->announced = (struct digest){0};
    /* One of another algorithm is not checked: what we store is known by our own. */
    if (digest && digest_parse(&g->announced, digest, NULL) < 0)
        g->announced = (struct digest){0};
    if (type && strlen(type) > MEDIA_TYPE_MAX)
        return err_set(e, OCI_E_REGISTRY, "a manifest comes with a media type of %zu bytes", strlen(type));
    snprintf(g->out->media_type, sizeof(g->out->media_type), "%s", type ? type : "");
    return 0;
}

static int get_body(void *ctx, const void *data, size_t len, struct err *e)
{
    struct manifest_get *g = ctx;
    uint64_t limit = g->registry->config->limits.manifest_bytes;
    if (len > limit - g->out->len)
        return err_set(e, OCI_E_LIMIT, "manifest '%s' is larger than %llu bytes (limit \"manifest_bytes\")",
                       g->selector, (unsigned long long)limit);
    char *more = realloc(g->out->data, g->out->len + len + 1);
    if (!more)
        return err_set(e, -ENOMEM, "cannot read manifest '%s': no memory", g->selector);
    memcpy(more + g->out->len, data, len);
    g->out->data = more;
    g->out->len += len;
    more[g->out->len] = '\0';
    return 0;
}

static int get_end(void *ctx, struct err *e)
{
    struct manifest_get *g = ctx;
    struct digest wanted;
    if (!g->out->data)
        return err_set(e, OCI_E_FORMAT, "manifest '%s' is empty", g->selector);
    int ret = digest_of(&g->out->digest, g->out->data, g->out->len, e);
    if (ret < 0)
        return ret;
    if (digest_parse(&wanted, g->selector, NULL) < 0)
        wanted = g->announced;
    if (digest_is_set(&wanted) && !digest_equal(&wanted, &g->out->digest))
        return err_set(e, OCI_E_DIGEST, "manifest '%s' has digest %s, not %s", g->selector,
                       g->out->digest.text, wanted.text);
    return 0;
}

static int head_end(void *ctx, struct err *e)
{
    struct manifest_get *g = ctx;
    if (!digest_is_set(&g->announced))
        return err_set(e, -ENODATA, "manifest '%s' comes without its digest", g->selector);
    return 0;
}

static void get_done(void *ctx, int ret, const struct err *e)
{
    struct manifest_get *g = ctx;
    g->over = true;
    g->ret = ret;
    if (ret < 0 && g->e)
        *g->e = *e;
}

static const struct fetch_ops get_ops = {
    .prepare = get_prepare, .begin = get_begin, .body = get_body, .end = get_end, .done = get_done};
static const struct fetch_ops head_ops = {
    .prepare = get_prepare, .begin = get_begin, .body = get_body, .end = head_end, .done = get_done};

static int run(struct manifest_get *g, const char *path, bool head, struct err *e)
{
    const struct fetch_params p = {
        .path = path,
        .kind = "manifests",
        .selector = g->selector,
        .accept = ACCEPT,
        .head = head,
        .size = -1,
        .ops = head ? &head_ops : &get_ops,
        .ctx = g,
    };
    struct fetch *f;
    int ret = fetch_start(g->registry, &p, &f, e);
    if (ret < 0)
        return ret;
    ret = registry_run(g->registry, &g->over, e);
    if (ret < 0 && !g->over)
        fetch_destroy(f);
    return ret < 0 ? ret : g->ret;
}

int registry_get_manifest(struct registry *r, const char *path, const char *selector,
                          struct registry_manifest *out, struct err *e)
{
    struct manifest_get g = {.registry = r, .selector = selector, .out = out, .e = e};
    *out = (struct registry_manifest){0};
    int ret = run(&g, path, false, e);
    if (ret < 0)
        registry_manifest_fini(out);
    return ret;
}

int registry_head_manifest(struct registry *r, const char *path, const char *selector, struct digest *out,
                           struct err *e)
{
    struct registry_manifest nothing = {0};
    struct manifest_get g = {.registry = r, .selector = selector, .out = &nothing, .e = e};
    int ret = run(&g, path, true, e);
    registry_manifest_fini(&nothing);
    *out = g.announced;
    return ret;
}

void registry_manifest_fini(struct registry_manifest *m)
{
    free(m->data);
    *m = (struct registry_manifest){0};
}
