/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: first it is settled what the document is, then it is read as that and nothing else. A
 * document that could be read both as a manifest and as an index is refused: two programs could see two
 * images behind one digest (CVE-2021-41190).
 */
#include "oci/manifest.h"

#include "base/own.h"
#include "oci/descriptor.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHAT "the manifest"

static int refuse_schema1(struct err *e)
{
    return err_set(e, OCI_E_UNSUPPORTED,
                   "it has a manifest of Docker's schema 1, which was replaced in 2016: push the image again "
                   "with a current tool, or copy it with 'skopeo copy'");
}

static int open_document(json_t **out, const void *data, size_t len, const struct oci_limits *limits,
                         struct err *e)
{
    return json_parse(out, data, len, limits->manifest_bytes, "manifest_bytes", WHAT, e);
}

/* By the members alone: MEDIA_UNKNOWN when they do not tell, or tell two things. */
static enum media_kind kind_by_members(const json_t *doc)
{
    bool manifest = json_object_get(doc, "config") || json_object_get(doc, "layers");
    bool list = json_object_get(doc, "manifests") != NULL;
    if (manifest == list)
        return MEDIA_UNKNOWN;
    return manifest ? MEDIA_MANIFEST : MEDIA_INDEX;
}

static int check_version(const json_t *doc, struct err *e)
{
    uint64_t version;
    int ret = json_need_size(doc, "", "schemaVersion", &version, e);
    if (ret < 0) {
        err_prefix(e, WHAT);
        return ret;
    }
    if (version == 1)
        return refuse_schema1(e);
    if (version != 2)
        return err_set(e, OCI_E_UNSUPPORTED, WHAT " has schemaVersion %llu, only 2 is known",
                       (unsigned long long)version);
    return 0;
}

/* What the document is; `said` may be NULL. */
static int document_kind(const json_t *doc, const char *said, enum media_kind *kind, struct err *e)
{
    const char *type;
    int ret = json_get_string(doc, "", "mediaType", &type, e);
    if (ret < 0)
        return ret;
    enum media_kind by_type = media_kind(type), by_said = media_kind(said);
    if (by_type == MEDIA_SCHEMA1 || (by_said == MEDIA_SCHEMA1 && by_type == MEDIA_UNKNOWN))
        return refuse_schema1(e);
    ret = check_version(doc, e);
    if (ret < 0)
        return ret;
    enum media_kind is = kind_by_members(doc);
    if (is == MEDIA_UNKNOWN)
        return err_set(e, OCI_E_FORMAT, WHAT " is neither that of an image nor an index of several");
    if (type && by_type != is)
        return err_set(e, by_type == MEDIA_UNKNOWN ? OCI_E_UNSUPPORTED : OCI_E_FORMAT,
                       WHAT " says that it is '%.100s', which its members are not", type);
    if (by_said != MEDIA_UNKNOWN && by_said != is)
        return err_set(e, OCI_E_FORMAT, WHAT " was announced as '%.100s', which it is not", said);
    *kind = is;
    return 0;
}

int manifest_kind(const void *data, size_t len, const char *said, const struct oci_limits *limits,
                  enum media_kind *kind, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    int ret = open_document(&doc, data, len, limits, e);
    return ret < 0 ? ret : document_kind(doc, said, kind, e);
}

/* Opens the document and holds it to be of this kind; copies its media type, or `implied`. */
static int open_as(json_t **out, enum media_kind kind, const char *implied, char *media_type,
                   const void *data, size_t len, const struct oci_limits *limits, struct err *e)
{
    int ret = open_document(out, data, len, limits, e);
    enum media_kind is = MEDIA_UNKNOWN;
    if (ret == 0)
        ret = document_kind(*out, NULL, &is, e);
    if (ret < 0)
        return ret;
    if (is != kind)
        return err_set(e, OCI_E_FORMAT, WHAT " is %s",
                       is == MEDIA_INDEX ? "an index of several" : "that of one image, not an index");
    const char *type = json_string_value(json_object_get(*out, "mediaType"));
    snprintf(media_type, MEDIA_TYPE_MAX + 1, "%s", type ? type : implied);
    return 0;
}

static int parse_config_descriptor(struct manifest *m, const json_t *doc, const struct oci_limits *limits,
                                   struct err *e)
{
    const json_t *config = json_object_get(doc, "config");
    if (!config)
        return err_set(e, OCI_E_FORMAT, "config is missing");
    int ret = descriptor_parse(&m->config, config, "config", limits->config_bytes, "config_bytes", e);
    if (ret == 0 && media_kind(m->config.media_type) != MEDIA_CONFIG)
        return err_set(e, OCI_E_UNSUPPORTED, "it is not a container image: its configuration is of type '%s'",
                       m->config.media_type);
    return ret;
}

static int parse_layers(struct manifest *m, const json_t *doc, const struct oci_limits *limits, struct err *e)
{
    json_t *layers;
    int ret = json_need_array(doc, "", "layers", &layers, e);
    if (ret < 0)
        return ret;
    size_t count = json_array_size(layers);
    if (count > limits->layers)
        return err_set(e, OCI_E_LIMIT, "it has %zu layers, more than %llu (limit layers)", count,
                       (unsigned long long)limits->layers);
    m->layer = calloc(count ? count : 1, sizeof(*m->layer));
    if (!m->layer)
        return err_set(e, -ENOMEM, "no memory for %zu layers", count);
    for (; m->nlayers < count; m->nlayers++) {
        char path[32];
        enum compression unused;
        struct descriptor *d = &m->layer[m->nlayers];
        snprintf(path, sizeof(path), "layers[%zu]", m->nlayers);
        ret = descriptor_parse(d, json_array_get(layers, m->nlayers), path, limits->blob_bytes, "blob_bytes",
                               e);
        if (ret < 0)
            return ret;
        ret = media_layer_compression(d->media_type, &unused, e);
        if (ret < 0) {
            err_prefix(e, "%s", path);
            return ret;
        }
    }
    return 0;
}

int manifest_parse(struct manifest *out, const void *data, size_t len, const struct oci_limits *limits,
                   struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    *out = (struct manifest){0};
    int ret = open_as(&doc, MEDIA_MANIFEST, MEDIA_OCI_MANIFEST, out->media_type, data, len, limits, e);
    if (ret < 0)
        return ret;
    ret = parse_config_descriptor(out, doc, limits, e);
    if (ret == 0)
        ret = parse_layers(out, doc, limits, e);
    if (ret < 0) {
        err_prefix(e, WHAT);
        manifest_fini(out);
    }
    return ret;
}

void manifest_fini(struct manifest *m)
{
    free(m->layer);
    *m = (struct manifest){0};
}

uint64_t manifest_size(const struct manifest *m)
{
    uint64_t sum = m->config.size;
    for (size_t i = 0; i < m->nlayers; i++) {
        if (__builtin_add_overflow(sum, m->layer[i].size, &sum))
            return UINT64_MAX;
    }
    return sum;
}

static int copy_annotation(char **out, const json_t *notes, const char *path, const char *key, struct err *e)
{
    const char *text;
    int ret = json_get_string(notes, path, key, &text, e);
    if (ret < 0 || !text)
        return ret;
    *out = strdup(text);
    return *out ? 0 : err_set(e, -ENOMEM, "no memory for an annotation");
}

static int parse_entry(struct index_entry *entry, const json_t *value, const char *path,
                       const struct oci_limits *limits, struct err *e)
{
    json_t *platform = NULL, *notes = NULL;
    char inner[64];
    int ret = descriptor_parse(&entry->manifest, value, path, limits->manifest_bytes, "manifest_bytes", e);
    if (ret == 0)
        ret = json_get_object(value, path, "platform", &platform, e);
    if (ret == 0)
        ret = json_get_object(value, path, "annotations", &notes, e);
    if (ret == 0 && platform) {
        snprintf(inner, sizeof(inner), "%s.platform", path);
        entry->has_platform = true;
        ret = platform_from_json(&entry->platform, platform, inner, e);
    }
    snprintf(inner, sizeof(inner), "%s.annotations", path);
    if (ret == 0 && notes)
        ret = copy_annotation(&entry->ref_name, notes, inner, "org.opencontainers.image.ref.name", e);
    if (ret == 0 && notes)
        ret = copy_annotation(&entry->name, notes, inner, "io.containerd.image.name", e);
    return ret;
}

static int parse_entries(struct image_index *x, const json_t *doc, const struct oci_limits *limits,
                         struct err *e)
{
    json_t *list;
    int ret = json_need_array(doc, "", "manifests", &list, e);
    if (ret < 0)
        return ret;
    size_t count = json_array_size(list);
    if (count > limits->index_entries)
        return err_set(e, OCI_E_LIMIT, "it lists %zu manifests, more than %llu (limit index_entries)", count,
                       (unsigned long long)limits->index_entries);
    x->entry = calloc(count ? count : 1, sizeof(*x->entry));
    if (!x->entry)
        return err_set(e, -ENOMEM, "no memory for %zu manifests", count);
    for (size_t i = 0; i < count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "manifests[%zu]", i);
        x->count = i + 1; /* what a failure leaves in the entry is freed with it */
        ret = parse_entry(&x->entry[i], json_array_get(list, i), path, limits, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int index_parse(struct image_index *out, const void *data, size_t len, const struct oci_limits *limits,
                struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    *out = (struct image_index){0};
    int ret = open_as(&doc, MEDIA_INDEX, MEDIA_OCI_INDEX, out->media_type, data, len, limits, e);
    if (ret < 0)
        return ret;
    ret = parse_entries(out, doc, limits, e);
    if (ret < 0) {
        err_prefix(e, "the index");
        index_fini(out);
    }
    return ret;
}

void index_fini(struct image_index *x)
{
    for (size_t i = 0; i < x->count; i++) {
        free(x->entry[i].ref_name);
        free(x->entry[i].name);
    }
    free(x->entry);
    *x = (struct image_index){0};
}

/* Something that could be the image looked for. */
static bool is_candidate(const struct index_entry *entry)
{
    enum media_kind kind = media_kind(entry->manifest.media_type);
    return kind == MEDIA_MANIFEST || kind == MEDIA_INDEX;
}

/* An earlier entry has the same platform. */
static bool is_repeated(const struct image_index *x, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (x->entry[i].has_platform && platform_equal(&x->entry[i].platform, &x->entry[at].platform))
            return true;
    }
    return false;
}

/* What there is instead, each platform once. */
static int no_platform(const struct image_index *x, const struct platform *want, struct err *e)
{
    char list[ERR_TEXT_MAX / 2] = "", text[PLATFORM_TEXT_MAX], wanted[PLATFORM_TEXT_MAX];
    size_t used = 0;
    for (size_t i = 0; i < x->count; i++) {
        const struct index_entry *entry = &x->entry[i];
        /* Attestations of build tools are listed as "unknown/unknown". */
        if (!is_candidate(entry) || !entry->has_platform || strcmp(entry->platform.os, "unknown") == 0 ||
            is_repeated(x, i))
            continue;
        platform_text(&entry->platform, text);
        if (used + strlen(text) + 8 > sizeof(list)) {
            used += (size_t)sprintf(list + used, ", …");
            break;
        }
        used += (size_t)sprintf(list + used, "%s%s", used ? ", " : "", text);
    }
    return err_set(e, OCI_E_PLATFORM, "there is no image for %s, only for: %s", platform_text(want, wanted),
                   used ? list : "none that is named");
}

int index_choose(const struct image_index *x, const struct platform *want, const struct index_entry **out,
                 struct err *e)
{
    const struct index_entry *best = NULL, *silent = NULL;
    int best_match = 0;
    size_t candidates = 0;
    for (size_t i = 0; i < x->count; i++) {
        const struct index_entry *entry = &x->entry[i];
        if (!is_candidate(entry))
            continue;
        candidates++;
        int match = entry->has_platform ? platform_match(want, &entry->platform) : 0;
        if (match > best_match) {
            best = entry;
            best_match = match;
        }
        if (!entry->has_platform)
            silent = entry;
    }
    if (!best && candidates == 1)
        best = silent;
    if (!best)
        return no_platform(x, want, e);
    *out = best;
    return 0;
}

/* Each layer's descriptor into the list; false without memory. */
static bool format_layers(const struct manifest *m, json_t *list)
{
    for (size_t i = 0; i < m->nlayers; i++) {
        if (json_array_append_new(list, descriptor_format(&m->layer[i])) < 0)
            return false;
    }
    return true;
}

int manifest_format(const struct manifest *m, char **out, size_t *len, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *layers = json_array();
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    if (layers && format_layers(m, layers))
        doc = json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", m->media_type, "config",
                        descriptor_format(&m->config), "layers", layers);
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    if (!text)
        return err_set(e, -ENOMEM, "no memory for a manifest");
    *out = text;
    *len = strlen(text);
    return 0;
}
