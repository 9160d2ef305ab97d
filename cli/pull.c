/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby pull: brings images. What it does is told on stderr; stdout gets one line for each image, its
 * reference in full, as scripts want it.
 */
#include "cli/cli.h"
#include "cli/images_open.h"
#include "cli/pull_view.h"
#include "cli/values.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

struct pull_settings {
    const char *platform;
    struct word_list insecure;
    bool quiet;
};

static void report(const char *name, const struct cubby_image *image, const struct cubby_pull_counts *counts)
{
    char size[SIZE_TEXT_MAX];
    if (counts->blobs > 0)
        fprintf(stderr, "%s: pulled, %s downloaded; %s\n", name, format_size(counts->bytes, size), image->id);
    else
        fprintf(stderr, "%s: up to date; %s\n", name, image->id);
}

static int pull_one(struct cubby_images *images, const struct pull_settings *s, const char *name, int signals)
{
    struct pull_view view;
    struct cubby_image *image;
    struct cubby_error e;
    struct cubby_pull_counts counts = {.size = sizeof(counts)};
    struct cubby_pull_options o = {
        .size = sizeof(o),
        .platform = s->platform,
        .policy = CUBBY_PULL_ALWAYS,
        .cancel_fd = signals,
        .progress = pull_view_progress,
        .context = &view,
    };
    pull_view_init(&view, stderr, name, s->quiet);
    int ret = cubby_images_pull(images, name, &o, &image, &counts, &e);
    pull_view_fini(&view, true);
    if (ret < 0)
        return images_told(&e, interrupts_take(signals));
    if (!s->quiet)
        report(name, image, &counts);
    printf("%s\n", image->reference);
    fflush(stdout);
    cubby_image_free(image);
    return 0;
}

static int run_pull(const void *settings, char **words, char **command)
{
    const struct pull_settings *s = settings;
    if (!words[0] || command[0])
        return complain(EXIT_CUBBY, "pull: %s; see 'cubby pull --help'",
                        words[0] ? "there is nothing to run here"
                                 : "no image; as in: cubby pull python:slim");
    struct cubby_images *images = images_open(&s->insecure);
    if (!images)
        return EXIT_CUBBY;
    int signals = interrupts_open(), code = 0;
    for (char **w = words; *w && code == 0; w++)
        code = pull_one(images, s, *w, signals);
    if (signals >= 0)
        close(signals);
    cubby_images_close(images);
    return code;
}

#define AT(member) offsetof(struct pull_settings, member)

static const struct opt pull_options[] = {
    {"platform", 0, OPT_STRING, "OS/ARCH", "of which platform: linux/arm64, linux/arm/v7 (this host's)",
     AT(platform), 0, 0},
    {"quiet", 'q', OPT_FLAG, NULL, "print nothing but the image's reference", AT(quiet), 0, 0},
    {"insecure-registry", 0, OPT_LIST, "HOST", "speak plain http to HOST or HOST:PORT; may be repeated",
     AT(insecure), 0, 0},
    {0},
};

static const char *const pull_examples[] = {
    "cubby pull python:slim",
    "brings an image from Docker's registry, or what of it is not there yet",
    "cubby pull ghcr.io/org/app@sha256:…",
    "exactly the image with this digest",
    "cubby pull --insecure-registry localhost:5000 localhost:5000/x",
    "from a registry on this host, without encryption",
    NULL,
};

const struct verb verb_pull = {
    .name = "pull",
    .summary = "brings an image from a registry",
    .usage = "[OPTION…] IMAGE…",
    .description =
        "Brings images from their registries: downloads the layers that are not there, several at a time, "
        "and\n"
        "merges them into a root file system. What an interrupted pull has downloaded is used by the next.\n"
        "An image that is there is compared with the registry's.",
    .options = pull_options,
    .examples = pull_examples,
    .settings_size = sizeof(struct pull_settings),
    .run = run_pull,
};
