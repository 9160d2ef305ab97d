/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby image load, save: images from files and to files. A file that could not be written whole is removed:
 * half an archive must not be taken for one.
 */
#include "cli/image_archive.h"

#include "cli/cli.h"
#include "cli/images_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- load
 * ------------------------------------------------------------------------------------------------*/

struct load_settings {
    const char *input, *name, *select, *platform;
    unsigned kind;
    bool quiet;
};

static void tell_loaded(void *context, const struct cubby_image *image)
{
    const struct load_settings *s = context;
    printf(s->quiet ? "%s\n" : "Loaded image: %s\n", image->reference);
    fflush(stdout);
}

static int load_path(const struct load_settings *s, const char *path)
{
    struct cubby_images *images = images_open(NULL);
    struct cubby_error e;
    if (!images)
        return EXIT_CUBBY;
    int signals = interrupts_open();
    const struct cubby_load_options o = {
        .size = sizeof(o),
        .name = s->name,
        .select = s->select,
        .platform = s->platform,
        .kind = s->kind,
        .loaded = tell_loaded,
        .context = (void *)s,
        .cancel_fd = signals,
    };
    int ret = cubby_images_load(images, path, &o, &e);
    int code = ret < 0 ? images_told(&e, interrupts_take(signals)) : 0;
    if (signals >= 0)
        close(signals);
    cubby_images_close(images);
    return code;
}

static int run_load(const void *settings, char **words, char **command)
{
    const struct load_settings *s = settings;
    const char *path = s->input ? s->input : words[0] ? words[0] : "-";
    if (command[0] || (words[0] && (words[1] || s->input)))
        return complain(EXIT_CUBBY,
                        "image load: one file or folder at a time; see 'cubby image load --help'");
    if (strcmp(path, "-") == 0 && isatty(STDIN_FILENO))
        return complain(EXIT_CUBBY,
                        "image load: no file is named, and stdin is a terminal; see 'cubby image load "
                        "--help'");
    return load_path(s, path);
}

#define AT(member) offsetof(struct load_settings, member)

static const struct opt load_options[] = {
    {"input", 'i', OPT_STRING, "FILE", "as FILE behind the options", AT(input), 0, 0},
    {"name", 0, OPT_STRING, "IMAGE", "store the one image under this reference", AT(name), 0, 0},
    {"select", 0, OPT_STRING, "NAME", "of several images the one that the file calls so", AT(select), 0, 0},
    {"platform", 0, OPT_STRING, "OS/ARCH", "of several platforms this one (this host's)", AT(platform), 0, 0},
    {"kind", 0, OPT_CHOICE, "auto|images|rootfs", "what the file is, where that cannot be seen", AT(kind), 0,
     0},
    {"quiet", 'q', OPT_FLAG, NULL, "print the references only", AT(quiet), 0, 0},
    {0},
};

static const char *const load_examples[] = {
    "cubby image load app.tar",
    "loads what 'docker save' or 'cubby image save' has written",
    "docker save app | cubby image load",
    "without a file in between",
    "cubby image load --name myroot:1 rootfs.tar.zst",
    "a root file system becomes an image",
    NULL,
};

const struct verb verb_load = {
    .name = "image load",
    .summary = "loads images from a file or folder",
    .usage = "[OPTION…] [FILE]",
    .description =
        "Loads the images of an OCI image layout (folder or tar), of a file that 'docker save' has written, "
        "or\n"
        "of a plain root file system (folder or tar). Tars may be compressed with gzip or zstd. Without\n"
        "FILE, or with '-', it is read from stdin.",
    .options = load_options,
    .examples = load_examples,
    .settings_size = sizeof(struct load_settings),
    .run = run_load,
};
#undef AT

/* ---- save
 * ------------------------------------------------------------------------------------------------*/

struct save_settings {
    const char *output, *platform;
};

/* stdout, or a new file. */
static int open_output(const struct save_settings *s)
{
    if (s->output && strcmp(s->output, "-") != 0) {
        int fd = open(s->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
            complain(EXIT_CUBBY, "cannot create '%s': %s", s->output, strerror(errno));
        return fd;
    }
    if (!isatty(STDOUT_FILENO))
        return STDOUT_FILENO;
    complain(EXIT_CUBBY, "image save: an archive on a terminal is of no use; name a file with --output");
    return -1;
}

/* Closes it; what is not whole is removed, if it is a file. 0, or the exit code. */
static int close_output(int fd, const struct save_settings *s, int code)
{
    struct stat st;
    bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (fd == STDOUT_FILENO)
        return code;
    if (close(fd) < 0 && code == 0)
        code = complain(EXIT_CUBBY, "cannot write '%s': %s", s->output, strerror(errno));
    if (code != 0 && file)
        unlink(s->output);
    return code;
}

static int run_save(const void *settings, char **words, char **command)
{
    const struct save_settings *s = settings;
    struct cubby_error e;
    int code = need_images("image save", words, command);
    struct cubby_images *images = code == 0 ? images_open(NULL) : NULL;
    if (!images)
        return EXIT_CUBBY;
    int fd = open_output(s); /* a FIFO waits here for its reader: signals still end us */
    int signals = interrupts_open();
    if (fd < 0)
        code = EXIT_CUBBY;
    else if (cubby_images_save(images, (const char *const *)words, s->platform, fd, signals, &e) < 0)
        code = images_told(&e, interrupts_take(signals));
    if (fd >= 0)
        code = close_output(fd, s, code);
    if (signals >= 0)
        close(signals);
    cubby_images_close(images);
    return code;
}

#define AT(member) offsetof(struct save_settings, member)

static const struct opt save_options[] = {
    {"output", 'o', OPT_STRING, "FILE", "write to FILE instead of stdout", AT(output), 0, 0},
    {"platform", 0, OPT_STRING, "OS/ARCH", "of which platform (this host's)", AT(platform), 0, 0},
    {0},
};

static const char *const save_examples[] = {
    "cubby image save -o app.tar app:v1 python:slim",
    "writes two images to a file",
    "cubby image save app:v1 | docker load",
    "hands one to Docker",
    NULL,
};

const struct verb verb_save = {
    .name = "image save",
    .summary = "writes images to a file",
    .usage = "[OPTION…] IMAGE…",
    .description = "Writes images to a tar that is an OCI image layout and that 'docker load' takes, too.",
    .options = save_options,
    .examples = save_examples,
    .settings_size = sizeof(struct save_settings),
    .run = run_save,
};
