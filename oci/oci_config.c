/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each object of the schema has a table of its members; oci/json_walk.h walks them and
 * knows line and key of what does not fit. Registries are few, so they are looked for one after the other.
 */
#include "oci/oci_config.h"

#include "base/io.h"
#include "base/own.h"
#include "oci/json_walk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void oci_config_init(struct oci_config *c)
{
    *c = (struct oci_config){
        .parallel = 4,
        .attempts = 5,
        .backoff_ms = 500,
        .stall_timeout_ms = 30000,
        .connect_timeout_ms = 15000,
        .document_timeout_ms = 60000,
    };
    oci_limits_init(&c->limits);
}

void oci_config_fini(struct oci_config *c)
{
    for (size_t i = 0; i < c->nregistries; i++) {
        struct registry_config *r = &c->registry[i];
        for (size_t k = 0; k < r->nmirrors; k++)
            free(r->mirror[k]);
        free(r->mirror);
        free(r->ca_file);
        free(r->name);
    }
    free(c->registry);
    *c = (struct oci_config){0};
}

/* Adds an entry, or gives the one that is there. */
static int add_registry(struct oci_config *c, const char *name, struct registry_config **out, struct err *e)
{
    struct url_origin host;
    int ret = url_host_parse(&host, name, e);
    if (ret < 0)
        return ret;
    *out = (struct registry_config *)oci_config_find(c, name);
    if (*out)
        return 0;
    if (c->nregistries == OCI_REGISTRIES_MAX)
        return err_set(e, -EINVAL, "more than %d registries", OCI_REGISTRIES_MAX);
    struct registry_config *more = realloc(c->registry, (c->nregistries + 1) * sizeof(*more));
    if (!more)
        return err_set(e, -ENOMEM, "cannot remember registry '%s': no memory", name);
    c->registry = more;
    struct registry_config r = {.host = host, .name = strdup(name)};
    if (!r.name)
        return err_set(e, -ENOMEM, "cannot remember registry '%s': no memory", name);
    c->registry[c->nregistries] = r;
    *out = &c->registry[c->nregistries++];
    return 0;
}

/* --- registries --- */

static int one_mirror(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    struct registry_config *r = to;
    CLEANUP(mem_freep) char *url = NULL;
    struct url_origin origin;
    struct err why = {0};
    int ret = json_take_string(&url, v, at, e);
    if (ret < 0)
        return ret;
    if (url_origin_parse(&origin, url, &why) < 0)
        return json_refuse(at, e, "%s", why.text);
    if (url[strcspn(url, "?#")])
        return json_refuse(at, e, "'%s' has a query or a fragment", url);
    if (r->nmirrors == OCI_MIRRORS_MAX)
        return json_refuse(at, e, "more than %d mirrors", OCI_MIRRORS_MAX);
    for (size_t len = strlen(url); len && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
    char **more = realloc(r->mirror, (r->nmirrors + 1) * sizeof(*more));
    if (!more)
        return err_set(e, -ENOMEM, "cannot read the configuration: no memory");
    r->mirror = more;
    r->mirror[r->nmirrors++] = STEAL(url);
    return 0;
}

static int mirrors(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return json_walk_elements(to, v, one_mirror, at, e);
}

static int insecure(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return json_take_bool(&((struct registry_config *)to)->insecure, v, at, e);
}

static int ca_file(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    struct registry_config *r = to;
    int ret = json_take_string(&r->ca_file, v, at, e);
    if (ret == 0 && r->ca_file[0] != '/')
        return json_refuse(at, e, "an absolute path is expected");
    return ret;
}

static int one_registry(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    static const struct json_member members[] = {
        {"mirrors", mirrors},
        {"insecure", insecure},
        {"ca_file", ca_file},
        {NULL, NULL},
    };
    struct registry_config *r;
    struct err why = {0};
    int ret = add_registry(to, at->key, &r, &why);
    if (ret < 0)
        return json_refuse(at, e, "%s", why.text);
    return json_walk(r, v, members, at, e);
}

static int registries(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return json_walk_members(to, v, one_registry, at, e);
}

/* --- downloads and limits: numbers --- */

struct number {
    const char *key;
    size_t offset; /* of an uint64_t in struct oci_config */
    uint64_t min, max;
};

#define OFFSET(field) offsetof(struct oci_config, field)

static const struct number download_numbers[] = {
    {"parallel", OFFSET(parallel), 1, OCI_PARALLEL_MAX},
    {"attempts", OFFSET(attempts), 1, OCI_ATTEMPTS_MAX},
    {"backoff_ms", OFFSET(backoff_ms), 1, OCI_TIMEOUT_MAX_MS},
    {"stall_timeout_ms", OFFSET(stall_timeout_ms), 1, OCI_TIMEOUT_MAX_MS},
    {"connect_timeout_ms", OFFSET(connect_timeout_ms), 1, OCI_TIMEOUT_MAX_MS},
    {"document_timeout_ms", OFFSET(document_timeout_ms), 1, OCI_TIMEOUT_MAX_MS},
    {NULL, 0, 0, 0},
};

static const struct number limit_numbers[] = {
    {"manifest_bytes", OFFSET(limits.manifest_bytes), 1, INT64_MAX},
    {"config_bytes", OFFSET(limits.config_bytes), 1, INT64_MAX},
    {"index_entries", OFFSET(limits.index_entries), 1, INT64_MAX},
    {"index_depth", OFFSET(limits.index_depth), 1, INT64_MAX},
    {"layers", OFFSET(limits.layers), 1, OCI_LAYERS_MAX},
    {"blob_bytes", OFFSET(limits.blob_bytes), 1, INT64_MAX},
    {"layer_bytes", OFFSET(limits.layer_bytes), 1, INT64_MAX},
    {"image_bytes", OFFSET(limits.image_bytes), 1, INT64_MAX},
    {"inflate_ratio", OFFSET(limits.inflate_ratio), 1, INT64_MAX},
    {"entries", OFFSET(limits.entries), 1, OCI_ENTRIES_MAX},
    {"path_bytes", OFFSET(limits.path_bytes), 1, OCI_PATH_BYTES_MAX},
    {"header_bytes", OFFSET(limits.header_bytes), 1, OCI_HEADER_BYTES_MAX},
    {NULL, 0, 0, 0},
};

static int take_number(const struct number *table, struct oci_config *c, const json_t *v,
                       const struct json_place *at, struct err *e)
{
    for (; table->key; table++) {
        if (strcmp(table->key, at->key) == 0)
            return json_take_number((uint64_t *)(void *)((char *)c + table->offset), table->min, table->max,
                                    v, at, e);
    }
    return json_refuse(at, e, "this key is not known");
}

static int one_download(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return take_number(download_numbers, to, v, at, e);
}

static int one_limit(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return take_number(limit_numbers, to, v, at, e);
}

static int downloads(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return json_walk_members(to, v, one_download, at, e);
}

static int limits(void *to, const json_t *v, const struct json_place *at, struct err *e)
{
    return json_walk_members(to, v, one_limit, at, e);
}

/* --- the whole --- */

int oci_config_parse(struct oci_config *c, const char *text, size_t len, struct err *e)
{
    static const struct json_member members[] = {
        {"registries", registries},
        {"downloads", downloads},
        {"limits", limits},
        {NULL, NULL},
    };
    return json_walk_text(c, text, len, members, e);
}

static int default_path(char out[PATH_MAX], struct err *e)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;
    /* The base directory specification has relative paths ignored. */
    if (xdg && xdg[0] == '/')
        n = snprintf(out, PATH_MAX, "%s/cubby/config.json", xdg);
    else if (home && home[0] == '/')
        n = snprintf(out, PATH_MAX, "%s/.config/cubby/config.json", home);
    else
        return -ENOENT;
    return n < PATH_MAX ? 0 : err_set(e, -ENAMETOOLONG, "the path of the configuration file is too long");
}

int oci_config_load(struct oci_config *c, const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *text = NULL;
    char standard[PATH_MAX];
    size_t len = 0;
    oci_config_init(c);
    int ret = path ? 0 : default_path(standard, e);
    if (ret == 0)
        ret = read_file(path ? path : standard, OCI_CONFIG_MAX, &text, &len, e);
    if (ret == -ENOENT && !path)
        return 0;
    if (ret == 0 && (ret = oci_config_parse(c, text, len, e)) < 0)
        err_prefix(e, "%s", path ? path : standard);
    if (ret < 0)
        oci_config_fini(c);
    return ret;
}

int oci_config_add_insecure(struct oci_config *c, const char *name, struct err *e)
{
    struct registry_config *r;
    int ret = add_registry(c, name, &r, e);
    if (ret == 0)
        r->insecure = true;
    return ret;
}

const struct registry_config *oci_config_find(const struct oci_config *c, const char *name)
{
    struct url_origin host;
    if (url_host_parse(&host, name, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < c->nregistries; i++) {
        const struct url_origin *have = &c->registry[i].host;
        if (have->port == host.port && strcmp(have->host, host.host) == 0)
            return &c->registry[i];
    }
    return NULL;
}

/* Whether one of the registry's mirrors is at this very origin. */
static bool has_mirror_at(const struct registry_config *r, const struct url_origin *o)
{
    struct url_origin mirror;
    for (size_t i = 0; i < r->nmirrors; i++)
        if (url_origin_parse(&mirror, r->mirror[i], NULL) == 0 && url_origin_equal(&mirror, o))
            return true;
    return false;
}

bool oci_config_allows_http(const struct oci_config *c, const struct url_origin *o)
{
    struct url_origin plain = *o;
    plain.https = false;
    for (size_t i = 0; i < c->nregistries; i++) {
        const struct registry_config *r = &c->registry[i];
        if ((r->insecure && url_host_matches(&r->host, &plain)) || has_mirror_at(r, &plain))
            return true;
    }
    return false;
}

const char *oci_config_ca_file(const struct oci_config *c, const struct url_origin *o)
{
    for (size_t i = 0; i < c->nregistries; i++)
        if (c->registry[i].ca_file && url_host_matches(&c->registry[i].host, o))
            return c->registry[i].ca_file;
    return NULL;
}
