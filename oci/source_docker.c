/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: manifest.json of `docker save` names, for each image, a configuration and the layers'
 * tars, but no digests of its own. The configuration's file is named by its digest, and its DiffIDs are those
 * of the layers: so all of it is checked, and becomes an OCI manifest of ours. The archive has no media
 * types; a layer whose digest is not its DiffID must be compressed, and then says so in its first bytes. The
 * merge will check the DiffID of what comes out.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One image while it is put together. */
struct docker_image {
    struct load *load;
    archived_find_fn *find;
    void *context;
    struct manifest manifest;
    char path[40]; /* "manifest.json[3]" */
};

static const struct archived *find_named(const struct docker_image *x, const char *name, struct err *e)
{
    const struct archived *file = x->find(x->context, name);
    if (!file)
        err_set(e, OCI_E_NOT_FOUND, "'%.200s', which %s names, is missing in it", name, x->path);
    return file;
}

/* "<hex>.json" and "blobs/sha256/<hex>" promise a digest. */
static int check_config_name(const struct archived *file, const char *name, struct err *e)
{
    const char *base = strrchr(name, '/');
    char hex[DIGEST_HEX_LEN + 1];
    struct digest promised;
    snprintf(hex, sizeof(hex), "%s", base ? base + 1 : name);
    if (!digest_from_hex(&promised, hex) || digest_equal(&promised, &file->blob.digest))
        return 0;
    return err_set(e, OCI_E_DIGEST, "the bytes of '%.200s' are those of %s", name, file->blob.digest.text);
}

static int take_config(struct docker_image *x, const char *name, struct image_config *c, struct err *e)
{
    struct load *l = x->load;
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    const struct archived *file = find_named(x, name, e);
    int ret = file ? check_config_name(file, name, e) : OCI_E_NOT_FOUND;
    if (ret == 0)
        ret = store_blob_load(l->store, &file->blob.digest, l->limits.config_bytes, &text, &len, e);
    if (ret == 0)
        ret = image_config_parse(c, text, len, &l->limits, e);
    if (ret < 0)
        return ret;
    x->manifest.config = file->blob;
    strcpy(x->manifest.config.media_type, MEDIA_OCI_CONFIG);
    return 0;
}

/* By what the stored blob begins with. */
static int compressed_type(struct load *l, const struct descriptor *d, const char **type, struct err *e)
{
    static const unsigned char gzip[] = {0x1f, 0x8b, 0x08}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    unsigned char head[4] = {0};
    CLEANUP(fd_closep) int fd = store_blob_open(l->store, &d->digest, NULL, e);
    if (fd < 0)
        return fd;
    if (pread(fd, head, sizeof(head), 0) < 0)
        return err_sys(e, "cannot read layer %s", d->digest.text);
    *type = memcmp(head, gzip, sizeof(gzip)) == 0   ? MEDIA_OCI_LAYER_GZIP
            : memcmp(head, zstd, sizeof(zstd)) == 0 ? MEDIA_OCI_LAYER_ZSTD
                                                    : NULL;
    return 0;
}

static int take_layer(struct docker_image *x, const char *name, const struct digest *diff_id,
                      struct descriptor *out, struct err *e)
{
    const char *type = MEDIA_OCI_LAYER;
    const struct archived *file = find_named(x, name, e);
    if (!file)
        return OCI_E_NOT_FOUND;
    *out = file->blob;
    if (!digest_equal(&out->digest, diff_id)) {
        int ret = compressed_type(x->load, out, &type, e);
        if (ret < 0)
            return ret;
    }
    if (!type)
        return err_set(e, OCI_E_DIGEST, "the bytes of layer '%.200s' are %s where the configuration says %s",
                       name, out->digest.text, diff_id->text);
    strcpy(out->media_type, type);
    return 0;
}

static int take_layers(struct docker_image *x, const json_t *names, const struct image_config *c,
                       struct err *e)
{
    struct manifest *m = &x->manifest;
    size_t count = json_array_size(names);
    if (count != c->ndiff_ids)
        return err_set(e, OCI_E_FORMAT, "%s has %zu layers, its configuration speaks of %zu", x->path, count,
                       c->ndiff_ids);
    m->layer = calloc(count ? count : 1, sizeof(*m->layer));
    if (!m->layer)
        return err_set(e, -ENOMEM, "no memory for %zu layers", count);
    for (; m->nlayers < count; m->nlayers++) {
        const char *name = json_string_value(json_array_get(names, m->nlayers));
        if (!name)
            return err_set(e, OCI_E_FORMAT, "%s.Layers[%zu] is not a string", x->path, m->nlayers);
        int ret = take_layer(x, name, &c->diff_id[m->nlayers], &m->layer[m->nlayers], e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* Registers the image once, under what it is called in the archive, or is to be called. */
static int register_as(struct docker_image *x, const char *said, const struct descriptor *manifest,
                       struct err *e)
{
    CLEANUP(mem_freep) char *name = NULL;
    int ret = load_name(x->load, said, &name, e);
    return ret < 0 ? ret : load_register(x->load, manifest, &manifest->digest, name, e);
}

static int register_all(struct docker_image *x, const json_t *tags, const struct descriptor *manifest,
                        struct err *e)
{
    size_t count = json_array_size(tags);
    if (count == 0 || x->load->opt->name)
        return register_as(x, NULL, manifest, e);
    for (size_t i = 0; i < count; i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        int ret = load_is_selected(x->load, tag, NULL) ? register_as(x, tag, manifest, e) : 0;
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int load_image(struct docker_image *x, const json_t *value, const json_t *tags, struct err *e)
{
    json_t *layers = NULL;
    const char *config = NULL;
    struct image_config c = {0};
    struct descriptor manifest = {0};
    int ret = json_need_string(value, x->path, "Config", &config, e);
    if (ret == 0)
        ret = json_get_array(value, x->path, "Layers", &layers, e);
    if (ret == 0)
        ret = take_config(x, config, &c, e);
    if (ret < 0)
        return ret;
    strcpy(x->manifest.media_type, MEDIA_OCI_MANIFEST);
    ret = take_layers(x, layers, &c, e);
    image_config_fini(&c);
    if (ret == 0)
        ret = load_put_manifest(x->load, &x->manifest, &manifest, e);
    if (ret == 0)
        ret = register_all(x, tags, &manifest, e);
    manifest_fini(&x->manifest);
    return ret;
}

static int check_tags(const struct load *l, const json_t *value, const char *path, json_t **tags,
                      bool *selected, struct err *e)
{
    if (!json_is_object(value))
        return err_set(e, OCI_E_FORMAT, "%s is not an object", path);
    int ret = json_get_array(value, path, "RepoTags", tags, e);
    *selected = ret == 0 && json_array_size(*tags) == 0 && load_is_selected(l, NULL, NULL);
    for (size_t i = 0; i < json_array_size(*tags) && ret == 0; i++) {
        const char *tag = json_string_value(json_array_get(*tags, i));
        if (!tag)
            ret = err_set(e, OCI_E_FORMAT, "%s.RepoTags[%zu] is not a string", path, i);
        else if (load_is_selected(l, tag, NULL))
            *selected = true;
    }
    return ret;
}

int docker_load(struct load *l, const char *list, size_t len, archived_find_fn *find, void *context,
                struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    int ret =
        json_parse_list(&doc, list, len, l->limits.manifest_bytes, "manifest_bytes", "manifest.json", e);
    for (size_t i = 0; ret == 0 && i < json_array_size(doc); i++) {
        struct docker_image x = {.load = l, .find = find, .context = context};
        const json_t *value = json_array_get(doc, i);
        json_t *tags = NULL;
        bool selected = false;
        snprintf(x.path, sizeof(x.path), "manifest.json[%zu]", i);
        ret = check_tags(l, value, x.path, &tags, &selected, e);
        if (ret == 0 && selected && l->opt->name && l->loaded > 0)
            ret = err_set(e, OCI_E_AMBIGUOUS,
                          "there are several images in it: select the one to be called '%s'", l->opt->name);
        if (ret == 0 && selected)
            ret = load_image(&x, value, tags, e);
    }
    return ret;
}
