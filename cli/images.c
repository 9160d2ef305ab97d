/* SPDX-License-Identifier: Apache-2.0 */
/* cubby images: what is there, as a table, as ids, or as JSON for programs, one object a line. */
#include "cli/cli.h"
#include "cli/images_open.h"
#include "cli/values.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ID_DIGITS 12

enum format { FORMAT_TABLE, FORMAT_JSON };

struct images_settings {
    unsigned format;
    bool quiet, no_trunc;
};

/* "sha256:0123…" without the algorithm, cut. */
static void print_id(const struct cubby_image *image, bool whole, char *out, size_t cap)
{
    const char *hex = strchr(image->id, ':');
    if (whole)
        snprintf(out, cap, "%s", image->id);
    else
        snprintf(out, cap, "%.*s", ID_DIGITS, hex ? hex + 1 : image->id);
}

/* The name ends where its tag or digest begins: at a '@', else at a ':' behind the last '/'. */
static size_t name_length(const char *name)
{
    const char *at = strchr(name, '@'), *slash = strrchr(name, '/');
    const char *colon = strchr(slash ? slash : name, ':');
    if (colon && (!at || colon < at))
        return (size_t)(colon - name);
    return at ? (size_t)(at - name) : strlen(name);
}

static void print_table(struct cubby_image **list, bool no_trunc)
{
    char id[80], size[SIZE_TEXT_MAX], ago[AGO_TEXT_MAX];
    int widest = 10, widest_tag = 3, widest_platform = 8;
    for (struct cubby_image **i = list; *i; i++) {
        int len = (int)name_length((*i)->name), rest = (int)strlen((*i)->name) - len - 1;
        int platform = (int)strlen((*i)->platform);
        widest = len > widest ? len : widest;
        widest_tag = rest > widest_tag ? rest : widest_tag;
        widest_platform = platform > widest_platform ? platform : widest_platform;
    }
    int id_width = no_trunc ? 71 : ID_DIGITS;
    printf("%-*s  %-*s  %-*s  %-*s  %-14s  %s\n", widest, "REPOSITORY", widest_tag, "TAG", id_width,
           "IMAGE ID", widest_platform, "PLATFORM", "STORED", "SIZE");
    for (struct cubby_image **i = list; *i; i++) {
        size_t len = name_length((*i)->name);
        const char *tag = (*i)->name[len] ? (*i)->name + len + 1 : "latest";
        print_id(*i, no_trunc, id, sizeof(id));
        printf("%-*.*s  %-*s  %-*s  %-*s  %-14s  %s\n", widest, (int)len, (*i)->name, widest_tag, tag,
               id_width, id, widest_platform, (*i)->platform, format_ago((*i)->stored_at, time(NULL), ago),
               format_size((*i)->stored_bytes, size));
    }
}

static int print_json(struct cubby_image **list)
{
    for (; *list; list++) {
        char *text = cubby_image_json(*list, 0);
        if (!text)
            return complain(EXIT_CUBBY, "no memory");
        puts(text);
        free(text);
    }
    return 0;
}

static void print_ids(struct cubby_image **list, bool no_trunc)
{
    char id[80];
    for (; *list; list++) {
        print_id(*list, no_trunc, id, sizeof(id));
        puts(id);
    }
}

static int run_images(const void *settings, char **words, char **command)
{
    const struct images_settings *s = settings;
    struct cubby_image **list;
    struct cubby_error e;
    int code = 0;
    if (words[0] || command[0])
        return complain(EXIT_CUBBY, "images: '%.60s' is too much; see 'cubby images --help'",
                        words[0] ? words[0] : command[0]);
    struct cubby_images *images = images_open(NULL);
    if (!images)
        return EXIT_CUBBY;
    if (cubby_images_list(images, &list, &e) < 0) {
        code = complain(EXIT_CUBBY, "%s", e.message);
    } else {
        if (s->quiet)
            print_ids(list, s->no_trunc);
        else if (s->format == FORMAT_JSON)
            code = print_json(list);
        else
            print_table(list, s->no_trunc);
        cubby_images_list_free(list);
    }
    cubby_images_close(images);
    return code;
}

#define AT(member) offsetof(struct images_settings, member)

static const struct opt images_options[] = {
    {"format", 0, OPT_CHOICE, "table|json", "json: an object for each image, one a line", AT(format), 0, 0},
    {"quiet", 'q', OPT_FLAG, NULL, "print ids only", AT(quiet), 0, 0},
    {"no-trunc", 0, OPT_FLAG, NULL, "print ids in full", AT(no_trunc), 0, 0},
    {0},
};

static const char *const images_examples[] = {
    "cubby images",
    "shows the images that are there",
    "cubby images --format json | jq -r .Reference",
    "their references, for a script",
    NULL,
};

const struct verb verb_images = {
    .name = "images",
    .summary = "lists the images that are there",
    .usage = "[OPTION…]",
    .description = "Lists the images that were pulled or loaded, and how much of the disk their layers take.",
    .options = images_options,
    .examples = images_examples,
    .settings_size = sizeof(struct images_settings),
    .run = run_images,
};
