/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the image is brought, its root file system opened, and its configuration read. The
 * open descriptor is what keeps the image from being pruned while the box lives (oci/store.h), so it comes
 * first; an image that was removed between the pull and the open is told as one that is not there.
 */
#include "runtime/box_image.h"

#include "base/own.h"
#include "runtime/errors.h"
#include "runtime/images.h"
#include "runtime/options.h"

#include <errno.h>
#include <string.h>

/* The reference's platform: it has what the load filled in where the configuration says nothing.
 * Guests are of this host's architecture: another's programs would fail one by one with "Exec format error".
 */
static int check_platform(const struct image_ref *ref, struct cubby_error *error)
{
    struct platform host;
    char ours[PLATFORM_TEXT_MAX], theirs[PLATFORM_TEXT_MAX];
    platform_host(&host);
    if (platform_match(&host, &ref->platform) > 0)
        return 0;
    return fail(error, CUBBY_EIMAGE, "image '%s' is made for %s, and boxes of this host are %s", ref->name,
                platform_text(&ref->platform, theirs), platform_text(&host, ours));
}

static int removed(const struct image_ref *ref, struct cubby_error *error)
{
    return fail(error, CUBBY_EIMAGE_NOT_FOUND, "image '%s' was removed just now", ref->name);
}

static int read_config(struct cubby_images *images, const struct image_ref *ref, struct image_config *out,
                       struct cubby_error *error)
{
    struct err e;
    struct manifest m;
    const struct oci_limits *limits = &images->config.limits;
    int ret = store_manifest_load(images->store, &ref->manifest.digest, limits, &m, &e);
    if (ret == 0) {
        ret = store_config_load(images->store, &m, limits, out, &e);
        manifest_fini(&m);
    }
    if (ret == -ENOENT) /* its root file system is open, and stays; these do not */
        return removed(ref, error);
    return ret < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : 0;
}

static int open_root(struct cubby_images *images, const struct image_ref *ref, struct cubby_error *error)
{
    struct err e;
    int fd = store_rootfs_open(images->store, &ref->manifest.digest, NULL, &e);
    if (fd == -ENOENT)
        return removed(ref, error);
    return fd < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : fd;
}

static int open_from(struct box_image *b, struct cubby_images *images, const struct cubby_box_options *o,
                     struct cubby_error *error)
{
    struct cubby_pull_options pull;
    struct pull_result r;
    int ret = options_copy(&pull, sizeof(pull), sizeof(pull), o->pull, error);
    if (ret < 0)
        return ret;
    if (pull.cancel_fd <= 0)
        pull.cancel_fd = o->cancel_fd;
    ret = images_bring(images, o->image, &pull, &r, error);
    if (ret < 0)
        return ret;
    CLEANUP(fd_closep) int fd = open_root(images, &r.image, error);
    ret = fd < 0 ? fd : read_config(images, &r.image, &b->config, error);
    b->present = ret == 0;
    if (ret == 0)
        ret = check_platform(&r.image, error);
    pull_result_fini(&r);
    return ret < 0 ? ret : STEAL_FD(fd);
}

int box_image_open(struct box_image *b, const struct cubby_box_options *o, struct cubby_error *error)
{
    struct cubby_images *own = NULL;
    int ret = o->images ? 0 : cubby_images_open(&own, NULL, error);
    if (ret == 0)
        ret = open_from(b, o->images ? o->images : own, o, error);
    cubby_images_close(own);
    return ret;
}

/* Before it is taken for granted that each word has a '='. */
static int check_env(const char *const *env, struct cubby_error *error)
{
    for (const char *const *v = env; v && *v; v++) {
        if ((*v)[0] == '=' || !strchr(*v, '='))
            return fail(error, CUBBY_EARGUMENT, "environment '%.80s' is not of the form NAME=value", *v);
    }
    return 0;
}

int box_image_set_env(struct box_image *b, const char *const *env, struct cubby_error *error)
{
    static const struct image_config nothing;
    struct err e;
    int ret = check_env(env, error);
    if (ret < 0 || !env)
        return ret;
    return image_config_env(&nothing, env, &b->env, &e) < 0 ? fail_err(error, CUBBY_ERESOURCE, &e) : 0;
}

void box_image_fini(struct box_image *b)
{
    if (b->present)
        image_config_fini(&b->config);
    free(b->env);
    *b = (struct box_image){0};
}

/* ---- for an execution
 * ------------------------------------------------------------------------------------*/

/* The image's, over it the box's, over both the execution's. */
static int make_env(const struct box_image *b, const char *const *env, char ***out, struct cubby_error *error)
{
    struct err e;
    CLEANUP(mem_freep) char **below = NULL;
    int ret = image_config_env(&b->config, (const char *const *)b->env, &below, &e);
    if (ret == 0) {
        const struct image_config base = {.env = below};
        ret = image_config_env(&base, env, out, &e);
    }
    return ret < 0 ? fail_err(error, CUBBY_ERESOURCE, &e) : 0;
}

int box_image_apply(const struct box_image *b, struct cubby_exec_options *o, struct box_words *w,
                    struct cubby_error *error)
{
    struct err e;
    *w = (struct box_words){0};
    if (o->entrypoint && !(o->flags & CUBBY_EXEC_IMAGE))
        return fail(error, CUBBY_EARGUMENT, "an entrypoint is given without CUBBY_EXEC_IMAGE");
    if (o->flags & CUBBY_EXEC_IMAGE) {
        if (image_config_argv(&b->config, o->entrypoint, o->argv, &w->argv, &e) < 0)
            return fail_err(error, CUBBY_EARGUMENT, &e);
        o->argv = (const char *const *)w->argv;
        /* One that is no signal is passed over, as Docker does: the image runs all the same. */
        int stop = image_config_stop_signal(&b->config, &e);
        w->stop_signal = stop > 0 ? stop : 0;
        w->of_image = b->present;
        o->flags &= ~CUBBY_EXEC_IMAGE;
    }
    int ret = check_env(o->env, error);
    if (ret == 0)
        ret = make_env(b, o->env, &w->env, error);
    o->env = (const char *const *)w->env;
    if (!o->workdir)
        o->workdir = b->config.workdir;
    if (!o->user)
        o->user = b->config.user;
    return ret;
}

void box_words_fini(struct box_words *w)
{
    free(w->argv);
    free(w->env);
}
