/* SPDX-License-Identifier: Apache-2.0 */
/* cubby image inspect, rm, prune: one image, or all that are too many. */
#include "cli/cli.h"
#include "cli/image_archive.h"
#include "cli/images_open.h"
#include "cli/values.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>

int need_images(const char *verb, char **words, char **command)
{
    if (words[0] && !command[0])
        return 0;
    return complain(EXIT_CUBBY, "%s: %s; see 'cubby %s --help'", verb,
                    words[0] ? "there is nothing to run here" : "no image is named", verb);
}

/* ---- inspect
 * ---------------------------------------------------------------------------------------------*/

struct inspect_settings {
    const char *platform;
};

/* An array, as Docker prints: of those that were found. */
static int run_inspect(const void *settings, char **words, char **command)
{
    const struct inspect_settings *s = settings;
    int code = need_images("image inspect", words, command);
    struct cubby_images *images = code == 0 ? images_open(NULL) : NULL;
    if (!images)
        return EXIT_CUBBY;
    const char *before = "[\n";
    for (char **w = words; *w; w++) {
        struct cubby_image *image;
        struct cubby_error e;
        if (cubby_images_inspect(images, *w, s->platform, &image, &e) < 0) {
            code = complain(EXIT_CUBBY, "%s", e.message);
            continue;
        }
        char *text = cubby_image_json(image, 4);
        printf("%s%s", before, text ? text : "null");
        before = ",\n";
        free(text);
        cubby_image_free(image);
    }
    printf("%s\n", before[0] == '[' ? "[]" : "\n]");
    cubby_images_close(images);
    return code;
}

static const struct opt inspect_options[] = {
    {"platform", 0, OPT_STRING, "OS/ARCH", "of which platform (this host's)",
     offsetof(struct inspect_settings, platform), 0, 0},
    {0},
};

static const char *const inspect_examples[] = {
    "cubby image inspect python:slim",
    "shows its configuration, labels and layers as JSON",
    "cubby image inspect python:slim | jq '.[0].Config.Env'",
    "its environment",
    NULL,
};

static const struct verb verb_inspect = {
    .name = "image inspect",
    .summary = "shows what is known of images, as JSON",
    .usage = "[OPTION…] IMAGE…",
    .description =
        "Prints an array with an object for each image: its configuration, labels, layers and sizes.",
    .options = inspect_options,
    .examples = inspect_examples,
    .settings_size = sizeof(struct inspect_settings),
    .run = run_inspect,
};

/* ---- rm and prune
 * ----------------------------------------------------------------------------------------*/

static int prune(struct cubby_images *images, const struct cubby_prune_options *o,
                 struct cubby_prune_counts *counts)
{
    struct cubby_error e;
    *counts = (struct cubby_prune_counts){.size = sizeof(*counts)};
    return cubby_images_prune(images, o, counts, &e) < 0 ? complain(EXIT_CUBBY, "%s", e.message) : 0;
}

struct rm_settings {
    const char *platform;
};

static int run_rm(const void *settings, char **words, char **command)
{
    const struct rm_settings *s = settings;
    struct cubby_prune_counts counts;
    int code = need_images("image rm", words, command);
    struct cubby_images *images = code == 0 ? images_open(NULL) : NULL;
    if (!images)
        return EXIT_CUBBY;
    for (char **w = words; *w; w++) {
        struct cubby_error e;
        if (cubby_images_remove(images, *w, s->platform, &e) < 0)
            code = complain(EXIT_CUBBY, "%s", e.message);
        else
            printf("Removed: %s\n", *w);
    }
    const struct cubby_prune_options unused = {.size = sizeof(unused), .flags = CUBBY_PRUNE_KEEP_PARTIAL};
    if (prune(images, &unused, &counts) != 0)
        code = EXIT_CUBBY;
    cubby_images_close(images);
    return code;
}

static const struct opt rm_options[] = {
    {"platform", 0, OPT_STRING, "OS/ARCH", "of this platform only (of all)",
     offsetof(struct rm_settings, platform), 0, 0},
    {0},
};

static const char *const rm_examples[] = {"cubby image rm python:slim", "removes the image", NULL};

static const struct verb verb_rm = {
    .name = "image rm",
    .summary = "removes images",
    .usage = "[OPTION…] IMAGE…",
    .description =
        "Removes images, and what belongs to no other image. A box that uses one keeps it until it ends.",
    .options = rm_options,
    .examples = rm_examples,
    .settings_size = sizeof(struct rm_settings),
    .run = run_rm,
};

struct prune_settings {
    bool all, dry_run;
    uint64_t older_ms;
};

static int run_prune(const void *settings, char **words, char **command)
{
    const struct prune_settings *s = settings;
    struct cubby_prune_counts counts;
    char size[SIZE_TEXT_MAX];
    if (words[0] || command[0])
        return complain(EXIT_CUBBY, "image prune: '%.60s' is too much; see 'cubby image prune --help'",
                        words[0] ? words[0] : command[0]);
    struct cubby_images *images = images_open(NULL);
    if (!images)
        return EXIT_CUBBY;
    const struct cubby_prune_options o = {.size = sizeof(o),
                                          .older_than_s = s->older_ms / 1000,
                                          .flags = (s->all ? CUBBY_PRUNE_ALL : 0) |
                                                   (s->dry_run ? CUBBY_PRUNE_DRY_RUN : 0)};
    int code = prune(images, &o, &counts);
    if (code == 0)
        printf("%s: %" PRIu64 " images, %" PRIu64 " layers and other objects, %" PRIu64
               " root file systems, %" PRIu64 " unfinished downloads; %s\n",
               s->dry_run ? "Would remove" : "Removed", counts.images, counts.blobs, counts.roots,
               counts.partial, format_size(counts.bytes, size));
    cubby_images_close(images);
    return code;
}

#define AT(member) offsetof(struct prune_settings, member)

static const struct opt prune_options[] = {
    {"all", 'a', OPT_FLAG, NULL, "images that no box uses, too", AT(all), 0, 0},
    {"older-than", 0, OPT_DURATION, "TIME", "only what was not used for so long: 12h, 30d", AT(older_ms), 0,
     0},
    {"dry-run", 0, OPT_FLAG, NULL, "only tell what would be removed", AT(dry_run), 0, 0},
    {0},
};

static const char *const prune_examples[] = {
    "cubby image prune",
    "removes what belongs to no image, as interrupted pulls leave it",
    "cubby image prune --all --older-than 30d",
    "and images that were not used for a month",
    NULL,
};

static const struct verb verb_prune = {
    .name = "image prune",
    .summary = "removes what no image needs",
    .usage = "[OPTION…]",
    .description =
        "Removes layers and root file systems that belong to no image, and with --all the images that no\n"
        "box uses. It does not ask.",
    .options = prune_options,
    .examples = prune_examples,
    .settings_size = sizeof(struct prune_settings),
    .run = run_prune,
};

static const struct verb *const image_verbs[] = {&verb_inspect, &verb_rm,   &verb_prune,
                                                 &verb_load,    &verb_save, NULL};

const struct verb verb_image = {
    .name = "image",
    .summary = "inspects, removes, loads and saves images",
    .usage = "COMMAND …",
    .description = "Acts on the images that are there; 'cubby images' lists them.",
    .verbs = image_verbs,
};
