/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls for the tests, one line of JSON per event and one for the end; exits with 1 on failure.
 *
 *   pull_driver pull [--config FILE] [--docker FILE] [--platform P] [--always|--never] [--cancel-stdin] STORE
 * REF pull_driver gc STORE            what no reference needs pull_driver list STORE          one line per
 * image pull_driver remove STORE REF
 */
#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/pull.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const phases[] = {
    [PULL_RESOLVING] = "resolving", [PULL_RESOLVED] = "resolved",       [PULL_EXISTS] = "exists",
    [PULL_WAITING] = "waiting",     [PULL_DOWNLOADING] = "downloading", [PULL_RETRYING] = "retrying",
    [PULL_VERIFYING] = "verifying", [PULL_DOWNLOADED] = "downloaded",   [PULL_MERGING] = "merging",
    [PULL_MERGED] = "merged",       [PULL_FINISHING] = "finishing",
};

static void say(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(line);
}

static void progress(void *ctx, const struct pull_event *event)
{
    (void)ctx;
    json_t *line = json_pack("{s:s, s:I, s:I}", "event", phases[event->phase], "have",
                             (json_int_t)event->have, "total", (json_int_t)event->total);
    bool of_blob =
        event->phase != PULL_RESOLVING && event->phase != PULL_RESOLVED && event->phase != PULL_FINISHING;
    if (of_blob)
        json_object_set_new(line, "layer",
                            json_integer(event->layer == PULL_CONFIG ? -1 : (json_int_t)event->layer));
    if (event->phase == PULL_RESOLVED)
        json_object_set_new(line, "layers", json_integer((json_int_t)event->manifest->nlayers));
    if (event->phase == PULL_RETRYING) {
        json_object_set_new(line, "delay_ms", json_integer((json_int_t)event->delay_ms));
        json_object_set_new(line, "reason", json_string(event->reason));
    }
    say(line);
}

static int fail(int code, const struct err *e)
{
    say(json_pack("{s:i, s:s, s:s}", "error", code, "class", oci_failure_name(code), "text", e->text));
    return 1;
}

struct arguments {
    const char *config, *docker, *platform, *store, *ref;
    enum pull_policy policy;
    int cancel_fd;
};

static int pull(struct store *s, const struct arguments *a, struct err *e)
{
    struct oci_config config;
    struct credentials *credentials;
    struct platform platform;
    struct oci_ref ref;
    struct pull_result r;
    int ret = oci_ref_parse(&ref, a->ref, e);
    if (ret == 0 && a->platform)
        ret = platform_parse(&platform, a->platform, e);
    if (ret == 0)
        ret = oci_config_load(&config, a->config, e);
    if (ret < 0)
        return ret;
    ret = credentials_load(&credentials, a->docker, e);
    if (ret == 0) {
        const struct pull_options o = {
            .config = &config,
            .credentials = credentials,
            .platform = a->platform ? &platform : NULL,
            .policy = a->policy,
            .cancel_fd = a->cancel_fd,
            .progress = progress,
        };
        ret = image_pull(s, &ref, &o, &r, e);
        credentials_destroy(credentials);
    }
    oci_config_fini(&config);
    if (ret < 0)
        return ret;
    say(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "name", r.image.name, "manifest",
                  r.image.manifest.digest.text, "requests", (json_int_t)r.requests, "blobs",
                  (json_int_t)r.blobs, "bytes", (json_int_t)r.bytes, "merges", (json_int_t)r.merges));
    pull_result_fini(&r);
    return 0;
}

static int gc(struct store *s, struct err *e)
{
    struct gc_result r;
    const struct gc_options o = {0};
    int ret = store_gc(s, &o, &r, e);
    if (ret == 0)
        say(json_pack("{s:I, s:I, s:I, s:I}", "blobs", (json_int_t)r.blobs, "rootfs", (json_int_t)r.rootfs,
                      "partials", (json_int_t)r.partials, "in_use", (json_int_t)r.in_use));
    return ret;
}

static int list(struct store *s, struct err *e)
{
    struct image_list l;
    int ret = store_list(s, &l, e);
    for (size_t i = 0; ret == 0 && i < l.count; i++)
        say(json_pack("{s:s, s:s, s:I}", "name", l.item[i].ref.name, "manifest",
                      l.item[i].ref.manifest.digest.text, "size", (json_int_t)l.item[i].size));
    if (ret == 0)
        image_list_fini(&l);
    return ret;
}

static int remove_ref(struct store *s, const struct arguments *a, struct err *e)
{
    struct oci_ref ref;
    char name[REF_TEXT_MAX];
    int ret = oci_ref_parse(&ref, a->ref, e);
    if (ret < 0)
        return ret;
    oci_ref_canonical(&ref, name);
    return store_ref_remove(s, name, NULL, e);
}

static int usage(void)
{
    fputs("usage: see the head of pull_driver.c\n", stderr);
    return 2;
}

static int parse(struct arguments *a, char **argv)
{
    for (; *argv && strncmp(*argv, "--", 2) == 0; argv++) {
        if (strcmp(*argv, "--always") == 0)
            a->policy = PULL_ALWAYS;
        else if (strcmp(*argv, "--never") == 0)
            a->policy = PULL_NEVER;
        else if (strcmp(*argv, "--cancel-stdin") == 0)
            a->cancel_fd = 0;
        else if (strcmp(*argv, "--config") == 0 && argv[1])
            a->config = *++argv;
        else if (strcmp(*argv, "--docker") == 0 && argv[1])
            a->docker = *++argv;
        else if (strcmp(*argv, "--platform") == 0 && argv[1])
            a->platform = *++argv;
        else
            return -1;
    }
    if (!*argv)
        return -1;
    a->store = *argv++;
    a->ref = *argv;
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {.cancel_fd = -1};
    struct store *s;
    struct err e = {0};
    if (argc < 3 || parse(&a, argv + 2) < 0)
        return usage();
    int ret = store_open(&s, a.store, &e);
    if (ret < 0)
        return fail(ret, &e);
    if (strcmp(argv[1], "pull") == 0 && a.ref)
        ret = pull(s, &a, &e);
    else if (strcmp(argv[1], "gc") == 0)
        ret = gc(s, &e);
    else if (strcmp(argv[1], "list") == 0)
        ret = list(s, &e);
    else if (strcmp(argv[1], "remove") == 0 && a.ref)
        ret = remove_ref(s, &a, &e);
    else
        return usage();
    store_close(s);
    return ret < 0 ? fail(ret, &e) : 0;
}
