/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: index.json lists images by name; entries of one name differ by platform, and an entry
 * may lead to a further index. For each name the best platform is chosen and followed down to a manifest; the
 * supply brings it, then what it names.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <string.h>

int layout_check_version(const char *text, size_t len, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    const char *version;
    int ret = json_parse(&doc, text, len, 4096, "of oci-layout", "oci-layout", e);
    if (ret == 0)
        ret = json_need_string(doc, "oci-layout", "imageLayoutVersion", &version, e);
    if (ret == 0 && strncmp(version, "1.", 2) != 0)
        ret = err_set(e, OCI_E_UNSUPPORTED, "its image layout has version '%.20s', only 1 is known", version);
    return ret;
}

/* Brings the document `d`; a manifest is done with, of an index the choice goes to *next. */
static int follow(struct load *l, const struct descriptor *d, const struct blob_supply *supply,
                  enum media_kind *kind, struct descriptor *next, struct err *e)
{
    CLEANUP(mem_freep) char *text = NULL;
    size_t len = 0;
    struct image_index x;
    const struct index_entry *entry;
    int ret = supply->bring(supply->context, d, e);
    if (ret == 0)
        ret = load_told(l, &d->digest,
                        store_blob_load(l->store, &d->digest, l->limits.manifest_bytes, &text, &len, e));
    if (ret == 0)
        ret = manifest_kind(text, len, d->media_type, &l->limits, kind, e);
    if (ret < 0 || *kind == MEDIA_MANIFEST)
        return ret;
    ret = index_parse(&x, text, len, &l->limits, e);
    if (ret < 0)
        return ret;
    ret = index_choose(&x, &l->want, &entry, e);
    if (ret == 0)
        *next = entry->manifest;
    index_fini(&x);
    return ret;
}

/* From *d down through indexes to a manifest, which *d is at the end. */
static int descend(struct load *l, struct descriptor *d, const struct blob_supply *supply, struct err *e)
{
    for (uint64_t depth = 0; depth <= l->limits.index_depth; depth++) {
        enum media_kind kind = MEDIA_UNKNOWN;
        struct descriptor next = {0};
        int ret = follow(l, d, supply, &kind, &next, e);
        if (ret < 0 || kind == MEDIA_MANIFEST)
            return ret;
        *d = next;
    }
    return err_set(e, OCI_E_LIMIT, "its indexes are nested more than %llu deep (limit index_depth)",
                   (unsigned long long)l->limits.index_depth);
}

/* Brings configuration and layers. */
static int bring_parts(struct load *l, const struct descriptor *manifest, const struct blob_supply *supply,
                       struct err *e)
{
    struct manifest m;
    int ret = store_manifest_load(l->store, &manifest->digest, &l->limits, &m, e);
    if (ret < 0)
        return ret;
    ret = supply->bring(supply->context, &m.config, e);
    for (size_t i = 0; i < m.nlayers && ret == 0; i++)
        ret = supply->bring(supply->context, &m.layer[i], e);
    manifest_fini(&m);
    return ret;
}

static const char *name_of(const struct index_entry *entry)
{
    return entry->name ? entry->name : entry->ref_name;
}

static bool same_name(const struct index_entry *a, const struct index_entry *b)
{
    const char *x = name_of(a), *y = name_of(b);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool is_image(const struct index_entry *entry)
{
    enum media_kind kind = media_kind(entry->manifest.media_type);
    return kind == MEDIA_MANIFEST || kind == MEDIA_INDEX;
}

/* The best of the entries that have the name of x->entry[first]. */
static int choose_named(const struct load *l, const struct image_index *x, size_t first,
                        struct descriptor *out, struct err *e)
{
    const struct index_entry *chosen;
    struct image_index group = {.entry = calloc(x->count - first, sizeof(*group.entry))};
    if (!group.entry)
        return err_set(e, -ENOMEM, "no memory for an index");
    for (size_t i = first; i < x->count; i++) {
        if (is_image(&x->entry[i]) && same_name(&x->entry[first], &x->entry[i]))
            group.entry[group.count++] = x->entry[i];
    }
    int ret = 0;
    /* Of one there is no choice, unless the user asks for a platform. */
    if (group.count == 1 && !l->opt->platform)
        chosen = &group.entry[0];
    else
        ret = index_choose(&group, &l->want, &chosen, e);
    if (ret == 0)
        *out = chosen->manifest;
    free(group.entry); /* the texts belong to x */
    return ret;
}

static int load_named(struct load *l, const struct image_index *x, size_t first,
                      const struct blob_supply *supply, struct err *e)
{
    CLEANUP(mem_freep) char *name = NULL;
    struct descriptor top;
    int ret = load_name(l, name_of(&x->entry[first]), &name, e);
    if (ret == 0)
        ret = choose_named(l, x, first, &top, e);
    if (ret < 0)
        return ret;
    struct descriptor manifest = top;
    ret = descend(l, &manifest, supply, e);
    if (ret == 0)
        ret = bring_parts(l, &manifest, supply, e);
    return ret < 0 ? ret : load_register(l, &manifest, &top.digest, name, e);
}

/* True when an earlier entry has the same name. */
static bool is_repeated(const struct image_index *x, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (is_image(&x->entry[i]) && same_name(&x->entry[i], &x->entry[at]))
            return true;
    }
    return false;
}

int layout_load(struct load *l, const char *index, size_t len, const struct blob_supply *supply,
                struct err *e)
{
    struct image_index x;
    size_t selected = 0, first = 0;
    int ret = index_parse(&x, index, len, &l->limits, e);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < x.count && ret == 0; i++) {
        const struct index_entry *entry = &x.entry[i];
        if (!is_image(entry) || is_repeated(&x, i) || !load_is_selected(l, entry->name, entry->ref_name))
            continue;
        if (selected++ == 0)
            first = i;
        if (!l->opt->name)
            ret = load_named(l, &x, i, supply, e);
    }
    if (ret == 0 && l->opt->name && selected > 1)
        ret = err_set(e, OCI_E_AMBIGUOUS, "there are %zu images in it: select the one to be called '%s'",
                      selected, l->opt->name);
    else if (ret == 0 && l->opt->name && selected == 1)
        ret = load_named(l, &x, first, supply, e);
    index_fini(&x);
    return ret;
}
