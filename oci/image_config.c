/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the document's top says what the image is (platform, layers, history), its "config"
 * object how it wants to be run. Each member is copied out by type; what Docker and its builders really write
 * is taken (null for an empty list, a string for a list of one), what contradicts the type is refused.
 */
#include "oci/image_config.h"

#include "base/own.h"
#include "oci/descriptor.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHAT "the image configuration"
/* Entries of a list of words; more than any kernel would take as arguments of a sensible size. */
#define WORDS_MAX 10000

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "no memory for " WHAT);
}

/* A string member; NULL when it is not there or empty. */
static int copy_string(char **out, const json_t *object, const char *path, const char *key, struct err *e)
{
    const char *text;
    int ret = json_get_string(object, path, key, &text, e);
    if (ret < 0 || !text || !*text)
        return ret;
    *out = strdup(text);
    return *out ? 0 : no_memory(e);
}

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++)
        free(*item);
    free(list);
}

/* Strings of an array into a NULL-terminated list; NULL when it is empty. */
static int copy_array(char ***out, const json_t *array, const char *path, const char *key, struct err *e)
{
    size_t count = json_array_size(array);
    if (count == 0)
        return 0;
    if (count > WORDS_MAX)
        return err_set(e, OCI_E_LIMIT, "%s.%s has %zu entries, more than %d", path, key, count, WORDS_MAX);
    char **list = calloc(count + 1, sizeof(*list));
    if (!list)
        return no_memory(e);
    *out = list;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text)
            return err_set(e, OCI_E_FORMAT, "%s.%s[%zu] is not a string", path, key, i);
        list[i] = strdup(text);
        if (!list[i])
            return no_memory(e);
    }
    return 0;
}

static int copy_list(char ***out, const json_t *object, const char *path, const char *key, struct err *e)
{
    json_t *array;
    int ret = json_get_array(object, path, key, &array, e);
    return ret < 0 ? ret : copy_array(out, array, path, key, e);
}

/* A list of words that old builders also wrote as one string. */
static int copy_words(char ***out, const json_t *object, const char *path, const char *key, struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return copy_list(out, object, path, key, e);
    if (json_string_length(value) == 0)
        return 0;
    *out = calloc(2, sizeof(**out));
    if (*out)
        (*out)[0] = strdup(json_string_value(value));
    return *out && (*out)[0] ? 0 : no_memory(e);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The member names of an object that is used as a set, sorted. */
static int copy_set(char ***out, const json_t *object, const char *path, const char *key, struct err *e)
{
    json_t *set;
    int ret = json_get_object(object, path, key, &set, e);
    size_t count = json_object_size(set), used = 0;
    if (ret < 0 || count == 0)
        return ret;
    char **list = calloc(count + 1, sizeof(*list));
    if (!list)
        return no_memory(e);
    *out = list;
    const char *name;
    json_t *unused;
    json_object_foreach(set, name, unused)
    {
        list[used] = strdup(name);
        if (!list[used++])
            return no_memory(e);
    }
    qsort(list, count, sizeof(*list), by_text);
    return 0;
}

static int by_label(const void *a, const void *b)
{
    const struct image_label *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int copy_labels(struct image_config *c, const json_t *config, struct err *e)
{
    json_t *labels;
    int ret = json_get_object(config, "config", "Labels", &labels, e);
    if (ret < 0 || json_object_size(labels) == 0)
        return ret;
    c->label = calloc(json_object_size(labels), sizeof(*c->label));
    if (!c->label)
        return no_memory(e);
    const char *name;
    json_t *value;
    json_object_foreach(labels, name, value)
    {
        if (!json_is_string(value))
            return err_set(e, OCI_E_FORMAT, "config.Labels[\"%.60s\"] is not a string", name);
        struct image_label *l = &c->label[c->nlabels++];
        *l = (struct image_label){.name = strdup(name), .value = strdup(json_string_value(value))};
        if (!l->name || !l->value)
            return no_memory(e);
    }
    qsort(c->label, c->nlabels, sizeof(*c->label), by_label);
    return 0;
}

static int parse_run_part(struct image_config *c, const json_t *doc, struct err *e)
{
    json_t *config;
    int ret = json_get_object(doc, "", "config", &config, e);
    if (ret < 0 || !config)
        return ret;
    ret = copy_list(&c->env, config, "config", "Env", e);
    if (ret == 0)
        ret = copy_string(&c->user, config, "config", "User", e);
    if (ret == 0)
        ret = copy_string(&c->workdir, config, "config", "WorkingDir", e);
    if (ret == 0)
        ret = copy_words(&c->entrypoint, config, "config", "Entrypoint", e);
    if (ret == 0)
        ret = copy_words(&c->cmd, config, "config", "Cmd", e);
    if (ret == 0)
        ret = copy_string(&c->stop_signal, config, "config", "StopSignal", e);
    if (ret == 0)
        ret = copy_set(&c->volumes, config, "config", "Volumes", e);
    if (ret == 0)
        ret = copy_set(&c->exposed_ports, config, "config", "ExposedPorts", e);
    return ret == 0 ? copy_labels(c, config, e) : ret;
}

static int parse_rootfs(struct image_config *c, const json_t *doc, const struct oci_limits *limits,
                        struct err *e)
{
    json_t *rootfs = NULL, *ids = NULL;
    const char *type = "";
    int ret = json_get_object(doc, "", "rootfs", &rootfs, e);
    if (ret == 0 && !rootfs)
        return err_set(e, OCI_E_FORMAT, "rootfs is missing");
    if (ret == 0)
        ret = json_need_string(rootfs, "rootfs", "type", &type, e);
    if (ret == 0 && strcmp(type, "layers") != 0)
        return err_set(e, OCI_E_UNSUPPORTED, "rootfs.type is '%.40s', only \"layers\" is known", type);
    if (ret == 0)
        ret = json_get_array(rootfs, "rootfs", "diff_ids", &ids, e);
    if (ret < 0)
        return ret;
    size_t count = json_array_size(ids);
    if (count > limits->layers)
        return err_set(e, OCI_E_LIMIT, "it has %zu layers, more than %llu (limit layers)", count,
                       (unsigned long long)limits->layers);
    c->diff_id = calloc(count ? count : 1, sizeof(*c->diff_id));
    if (!c->diff_id)
        return no_memory(e);
    for (; c->ndiff_ids < count; c->ndiff_ids++) {
        const char *text = json_string_value(json_array_get(ids, c->ndiff_ids));
        if (!text)
            return err_set(e, OCI_E_FORMAT, "rootfs.diff_ids[%zu] is not a string", c->ndiff_ids);
        ret = digest_parse(&c->diff_id[c->ndiff_ids], text, e);
        if (ret < 0) {
            err_prefix(e, "rootfs.diff_ids[%zu]", c->ndiff_ids);
            return ret;
        }
    }
    return 0;
}

static int parse_step(struct image_history *h, const json_t *value, size_t at, struct err *e)
{
    char path[40];
    snprintf(path, sizeof(path), "history[%zu]", at);
    if (!json_is_object(value))
        return err_set(e, OCI_E_FORMAT, "%s is not an object", path);
    int ret = copy_string(&h->created, value, path, "created", e);
    if (ret == 0)
        ret = copy_string(&h->created_by, value, path, "created_by", e);
    if (ret == 0)
        ret = copy_string(&h->comment, value, path, "comment", e);
    h->empty_layer = json_is_true(json_object_get(value, "empty_layer"));
    return ret;
}

static int parse_history(struct image_config *c, const json_t *doc, struct err *e)
{
    json_t *list;
    int ret = json_get_array(doc, "", "history", &list, e);
    size_t count = json_array_size(list);
    if (ret < 0 || count == 0)
        return ret;
    c->history = calloc(count, sizeof(*c->history));
    if (!c->history)
        return no_memory(e);
    while (ret == 0 && c->nhistory < count) {
        size_t at = c->nhistory++; /* what a failure leaves in it is freed with it */
        ret = parse_step(&c->history[at], json_array_get(list, at), at, e);
    }
    return ret;
}

int image_config_parse(struct image_config *out, const void *data, size_t len,
                       const struct oci_limits *limits, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    *out = (struct image_config){0};
    int ret = json_parse(&doc, data, len, limits->config_bytes, "config_bytes", WHAT, e);
    if (ret < 0)
        return ret;
    ret = platform_from_json(&out->platform, doc, "", e);
    if (ret == 0)
        ret = copy_string(&out->created, doc, "", "created", e);
    if (ret == 0)
        ret = copy_string(&out->author, doc, "", "author", e);
    if (ret == 0)
        ret = parse_run_part(out, doc, e);
    if (ret == 0)
        ret = parse_rootfs(out, doc, limits, e);
    if (ret == 0)
        ret = parse_history(out, doc, e);
    if (ret < 0) {
        err_prefix(e, WHAT);
        image_config_fini(out);
    }
    return ret;
}

void image_config_fini(struct image_config *c)
{
    free(c->created);
    free(c->author);
    free_list(c->env);
    free(c->user);
    free(c->workdir);
    free_list(c->entrypoint);
    free_list(c->cmd);
    free(c->stop_signal);
    free_list(c->volumes);
    free_list(c->exposed_ports);
    for (size_t i = 0; i < c->nlabels; i++) {
        free(c->label[i].name);
        free(c->label[i].value);
    }
    free(c->label);
    free(c->diff_id);
    for (size_t i = 0; i < c->nhistory; i++) {
        free(c->history[i].created);
        free(c->history[i].created_by);
        free(c->history[i].comment);
    }
    free(c->history);
    *c = (struct image_config){0};
}
