/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the public struct points to belongs to a larger one around it: the parsed
 * manifest and configuration, and lists of pointers into them. The public part comes first, so that one is
 * found from the other.
 */
#include "runtime/images.h"

#include "base/own.h"
#include "oci/ref.h"
#include "runtime/errors.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct described {
    struct cubby_image image;
    struct image_ref ref;
    struct manifest manifest;
    struct image_config config;
    bool has_manifest, has_config;
    char name[REF_TEXT_MAX], platform[PLATFORM_TEXT_MAX];
    char **labels;                   /* "name=value"; owned, with its strings */
    const char **layers, **diff_ids; /* the lists are owned */
};

static const char *const nothing[] = {NULL};

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static const char *const *list_or_empty(char **list)
{
    return list ? (const char *const *)list : nothing;
}

void cubby_image_free(struct cubby_image *image)
{
    if (!image)
        return;
    struct described *d = CONTAINER_OF(image, struct described, image);
    for (char **l = d->labels; l && *l; l++)
        free(*l);
    free(d->labels);
    free(d->layers);
    free(d->diff_ids);
    if (d->has_config)
        image_config_fini(&d->config);
    if (d->has_manifest)
        manifest_fini(&d->manifest);
    image_ref_fini(&d->ref);
    free(d);
}

/* False without memory. */
static bool make_lists(struct described *d)
{
    d->labels = calloc(d->config.nlabels + 1, sizeof(*d->labels));
    d->layers = calloc(d->manifest.nlayers + 1, sizeof(*d->layers));
    d->diff_ids = calloc(d->config.ndiff_ids + 1, sizeof(*d->diff_ids));
    if (!d->labels || !d->layers || !d->diff_ids)
        return false;
    for (size_t i = 0; i < d->config.nlabels; i++) {
        if (asprintf(&d->labels[i], "%s=%s", d->config.label[i].name, d->config.label[i].value) < 0) {
            d->labels[i] = NULL;
            return false;
        }
    }
    for (size_t i = 0; i < d->manifest.nlayers; i++)
        d->layers[i] = d->manifest.layer[i].digest.text;
    for (size_t i = 0; i < d->config.ndiff_ids; i++)
        d->diff_ids[i] = d->config.diff_id[i].text;
    return true;
}

static void show_config(struct described *d)
{
    const struct image_config *c = &d->config;
    struct cubby_image *image = &d->image;
    image->inspected = 1;
    image->created = text_or_empty(c->created);
    image->author = text_or_empty(c->author);
    image->user = text_or_empty(c->user);
    image->workdir = text_or_empty(c->workdir);
    image->stop_signal = text_or_empty(c->stop_signal);
    image->env = list_or_empty(c->env);
    image->entrypoint = list_or_empty(c->entrypoint);
    image->cmd = list_or_empty(c->cmd);
    image->volumes = list_or_empty(c->volumes);
    image->ports = list_or_empty(c->exposed_ports);
    image->labels = (const char *const *)d->labels;
    image->layers = d->layers;
    image->diff_ids = d->diff_ids;
}

static void show_no_config(struct cubby_image *image)
{
    image->created = image->author = image->user = image->workdir = image->stop_signal = "";
    image->env = image->entrypoint = image->cmd = image->volumes = image->ports = image->labels = nothing;
    image->layers = image->diff_ids = nothing;
}

static void show_ref(struct described *d)
{
    struct oci_ref ref;
    if (oci_ref_parse(&ref, d->ref.name, NULL) == 0)
        oci_ref_familiar(&ref, d->name);
    else /* a name that a later version wrote */
        snprintf(d->name, sizeof(d->name), "%s", d->ref.name);
    d->image.name = d->name;
    d->image.reference = d->ref.name;
    d->image.id = d->ref.manifest.digest.text;
    d->image.platform = platform_text(&d->ref.platform, d->platform);
    d->image.stored_at = d->ref.stored_at;
}

static void show_info(struct cubby_image *image, const struct image_info *info)
{
    image->stored_bytes = info->size;
    image->root_bytes = info->rootfs_size;
    image->used_at = info->used_at;
    image->in_use = info->in_use;
}

/* What only the list of all knows: whether it is used, and how much it takes. */
static int find_info(struct cubby_images *images, struct described *d, struct err *e)
{
    struct image_list list;
    int ret = store_list(images->store, &list, e);
    for (size_t i = 0; i < list.count && ret == 0; i++) {
        const struct image_ref *ref = &list.item[i].ref;
        if (strcmp(ref->name, d->ref.name) == 0 && platform_equal(&ref->platform, &d->ref.platform))
            show_info(&d->image, &list.item[i]);
    }
    if (ret == 0)
        image_list_fini(&list);
    return ret;
}

static int load(struct cubby_images *images, struct described *d, struct err *e)
{
    const struct oci_limits *limits = &images->config.limits;
    int ret = store_manifest_load(images->store, &d->ref.manifest.digest, limits, &d->manifest, e);
    if (ret < 0)
        return ret;
    d->has_manifest = true;
    ret = store_config_load(images->store, &d->manifest, limits, &d->config, e);
    if (ret < 0)
        return ret;
    d->has_config = true;
    if (!make_lists(d))
        return err_set(e, -ENOMEM, "no memory for what is known of image '%s'", d->ref.name);
    show_config(d);
    return find_info(images, d, e);
}

int image_describe(struct cubby_images *images, const struct image_ref *ref, const struct image_info *info,
                   struct cubby_image **out, struct cubby_error *error)
{
    struct err e;
    struct described *d = calloc(1, sizeof(*d));
    if (!d)
        return fail(error, CUBBY_ERESOURCE, "no memory for an image");
    int ret = image_ref_copy(&d->ref, ref, &e);
    if (ret == 0) {
        show_ref(d);
        show_no_config(&d->image);
        if (info)
            show_info(&d->image, info);
        else
            ret = load(images, d, &e);
    }
    if (ret < 0) {
        cubby_image_free(&d->image);
        return fail_err(error, CUBBY_ESTORAGE, &e);
    }
    *out = &d->image;
    return 0;
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------------*/

static json_t *list_json(const char *const *list)
{
    json_t *array = json_array();
    for (; *list; list++)
        json_array_append_new(array, json_string(*list));
    return array;
}

/* Docker's form of a set: {"/data": {}, …}. */
static json_t *set_json(const char *const *list)
{
    json_t *object = json_object();
    for (; *list; list++)
        json_object_set_new(object, *list, json_object());
    return object;
}

/* From the configuration: in "name=value" nothing says which '=' ends a name that has one. */
static json_t *labels_json(const struct image_config *c)
{
    json_t *object = json_object();
    for (size_t i = 0; i < c->nlabels; i++)
        json_object_set_new(object, c->label[i].name, json_string(c->label[i].value));
    return object;
}

static json_t *time_json(int64_t seconds)
{
    char text[32] = "";
    struct tm tm;
    time_t t = (time_t)seconds;
    if (gmtime_r(&t, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static json_t *config_json(const struct cubby_image *i)
{
    json_t *c = json_object();
    json_object_set_new(c, "User", json_string(i->user));
    json_object_set_new(c, "WorkingDir", json_string(i->workdir));
    json_object_set_new(c, "Env", list_json(i->env));
    json_object_set_new(c, "Entrypoint", list_json(i->entrypoint));
    json_object_set_new(c, "Cmd", list_json(i->cmd));
    json_object_set_new(c, "StopSignal", json_string(i->stop_signal));
    json_object_set_new(c, "Volumes", set_json(i->volumes));
    json_object_set_new(c, "ExposedPorts", set_json(i->ports));
    json_object_set_new(c, "Labels", labels_json(&CONTAINER_OF(i, struct described, image)->config));
    return c;
}

static void add_inspected(json_t *root, const struct cubby_image *i)
{
    json_t *rootfs = json_object();
    json_object_set_new(rootfs, "Type", json_string("layers"));
    json_object_set_new(rootfs, "Layers", list_json(i->diff_ids));
    json_object_set_new(root, "Created", json_string(i->created));
    json_object_set_new(root, "Author", json_string(i->author));
    json_object_set_new(root, "Config", config_json(i));
    json_object_set_new(root, "RootFS", rootfs);
    json_object_set_new(root, "Layers", list_json(i->layers));
}

char *cubby_image_json(const struct cubby_image *image, int indent)
{
    if (!image)
        return NULL;
    json_t *root = json_object();
    json_object_set_new(root, "Id", json_string(image->id));
    json_object_set_new(root, "Name", json_string(image->name));
    json_object_set_new(root, "Reference", json_string(image->reference));
    json_object_set_new(root, "Platform", json_string(image->platform));
    json_object_set_new(root, "Size", json_integer((json_int_t)image->stored_bytes));
    json_object_set_new(root, "RootSize", json_integer((json_int_t)image->root_bytes));
    json_object_set_new(root, "Stored", time_json(image->stored_at));
    json_object_set_new(root, "Used", time_json(image->used_at));
    json_object_set_new(root, "InUse", json_boolean(image->in_use));
    if (image->inspected)
        add_inspected(root, image);
    char *text = json_dumps(root, indent > 0 ? JSON_INDENT((size_t)(indent < 8 ? indent : 8)) : JSON_COMPACT);
    json_decref(root);
    return text;
}
