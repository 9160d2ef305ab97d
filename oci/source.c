/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: it is settled what the source is, and its reader is called. All readers end in
 * load_register(), which demands that manifest, configuration and layers are in the store.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/ref.h"
#include "oci/store_internal.h"

#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define BASE_NAME_MAX 128

int load_check_cancelled(const struct load *l, struct err *e)
{
    struct pollfd cancel = {.fd = l->opt->cancel_fd, .events = POLLIN};
    return poll(&cancel, 1, 0) > 0 ? err_set(e, -ECANCELED, "interrupted") : 0;
}

/* "/x/My Image.tar.gz" → "my-image"; "" when nothing is left. */
static void base_name(const char *path, char out[BASE_NAME_MAX])
{
    static const char *const ending[] = {".gz", ".zst", ".tgz", ".tar", ".oci"};
    char word[BASE_NAME_MAX];
    const char *end = path + strlen(path);
    while (end > path && end[-1] == '/')
        end--;
    const char *start = end;
    while (start > path && start[-1] != '/')
        start--;
    snprintf(word, sizeof(word), "%.*s", (int)(end - start), start);
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        size_t len = strlen(word), cut = strlen(ending[i]);
        if (len > cut && strcmp(word + len - cut, ending[i]) == 0)
            word[len - cut] = '\0';
    }
    /* What the grammar of references does not take becomes a hyphen between words. */
    size_t used = 0;
    for (const char *c = word; *c; c++) {
        if (isascii(*c) && isalnum((unsigned char)*c))
            out[used++] = (char)tolower(*c);
        else if (used && out[used - 1] != '-')
            out[used++] = '-';
    }
    while (used && out[used - 1] == '-')
        used--;
    out[used] = '\0';
}

int load_name(const struct load *l, const char *said, char **out, struct err *e)
{
    struct oci_ref r;
    char text[REF_TEXT_MAX], base[BASE_NAME_MAX];
    const char *name = l->opt->name ? l->opt->name : said;
    if (!l->opt->name && (!said || !strpbrk(said, ":/"))) {
        base_name(l->path, base);
        snprintf(text, sizeof(text), "localhost/%s:%s", *base ? base : "image", said ? said : "latest");
        name = text;
    }
    int ret = oci_ref_parse(&r, name, e);
    if (ret < 0)
        return ret;
    oci_ref_canonical(&r, text);
    *out = strdup(text);
    return *out ? 0 : err_set(e, -ENOMEM, "no memory for a name");
}

/* Whether the archive's name is the one that is wanted: to the letter, or as references, so that "app" is
 * docker.io/library/app:latest. A bare tag is none. */
static bool is_called(const char *name, const char *wanted)
{
    struct oci_ref a, b;
    char text[REF_TEXT_MAX], other[REF_TEXT_MAX];
    if (!name || strcmp(name, wanted) == 0)
        return name;
    if (!strpbrk(name, ":/") || oci_ref_parse(&a, name, NULL) < 0 || oci_ref_parse(&b, wanted, NULL) < 0)
        return false;
    oci_ref_canonical(&a, text);
    oci_ref_canonical(&b, other);
    return strcmp(text, other) == 0;
}

bool load_is_selected(const struct load *l, const char *name, const char *other_name)
{
    const char *wanted = l->opt->select;
    return !wanted || is_called(name, wanted) || is_called(other_name, wanted);
}

/* The platform that the reference gets, which must be the wanted one if one was asked for. */
static int check_platform(const struct load *l, struct platform *p, struct err *e)
{
    char have[PLATFORM_TEXT_MAX], want[PLATFORM_TEXT_MAX];
    if (!p->os[0] || !p->arch[0])
        *p = l->want;
    if (!l->opt->platform || platform_match(&l->want, p) > 0)
        return 0;
    return err_set(e, OCI_E_PLATFORM, "the image is for %s, not for %s", platform_text(p, have),
                   platform_text(&l->want, want));
}

int load_told(const struct load *l, const struct digest *d, int ret)
{
    if (ret == OCI_E_DIGEST)
        store_blob_remove_damaged(l->store, d);
    return ret;
}

int load_register(struct load *l, const struct descriptor *manifest, const struct digest *source,
                  const char *name, struct err *e)
{
    struct manifest m;
    struct image_config c;
    int ret = store_manifest_load(l->store, &manifest->digest, &l->limits, &m, e);
    if (ret < 0)
        return load_told(l, &manifest->digest, ret);
    ret = load_told(l, &m.config.digest, store_config_load(l->store, &m, &l->limits, &c, e));
    manifest_fini(&m);
    if (ret < 0)
        return ret;
    struct image_ref r = {
        .name = (char *)name, .platform = c.platform, .manifest = *manifest, .source = *source};
    image_config_fini(&c);
    ret = check_platform(l, &r.platform, e);
    if (ret == 0)
        ret = store_ref_put(l->lease, &r, e);
    if (ret < 0)
        return ret;
    l->loaded++;
    if (l->opt->loaded)
        l->opt->loaded(l->opt->context, &r);
    return 0;
}

int load_put_manifest(struct load *l, const struct manifest *m, struct descriptor *out, struct err *e)
{
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    int ret = manifest_format(m, &text, &len, e);
    if (ret == 0)
        ret = digest_of(&out->digest, text, len, e);
    if (ret == 0)
        ret = store_blob_put(l->lease, &out->digest, text, len, e);
    strcpy(out->media_type, m->media_type);
    out->size = ret == 0 ? len : 0;
    return ret;
}

/* A name that an archive of images begins with. */
static bool is_of_archive(const char *name)
{
    static const char *const known[] = {"blobs", "oci-layout", "index.json", "manifest.json", "repositories"};
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    size_t len = strcspn(name, "/");
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0)
            return true;
    }
    size_t hex = strspn(name, "0123456789abcdef");
    const char *rest = name + hex;
    return hex == DIGEST_HEX_LEN &&
           (!*rest || *rest == '/' || strcmp(rest, ".json") == 0 || strcmp(rest, ".tar") == 0);
}

/* Looks at the first entry and puts the position back. */
static int guess_tar(const struct load *l, int fd, enum source_kind *kind, struct err *e)
{
    CLEANUP(tar_reader_closep) struct archive *a = tar_reader(l, fd);
    if (!a)
        return err_set(e, -ENOMEM, "no memory to read a tar");
    const char *name;
    do {
        struct archive_entry *entry;
        int ret = archive_read_next_header(a, &entry);
        if (ret == ARCHIVE_EOF)
            return err_set(e, OCI_E_FORMAT, "the archive is empty");
        if (ret < ARCHIVE_WARN)
            return tar_error(l, a, e);
        name = archive_entry_pathname(entry);
    } while (!name || strcmp(name, "./") == 0);
    *kind = is_of_archive(name) ? SOURCE_IMAGES : SOURCE_ROOTFS;
    return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(e, "cannot read it from the start") : 0;
}

static int load_folder(struct load *l, int fd, struct err *e)
{
    enum source_kind kind = l->opt->kind;
    if (kind == SOURCE_AUTO)
        kind = faccessat(fd, "oci-layout", F_OK, 0) == 0 ? SOURCE_IMAGES : SOURCE_ROOTFS;
    return kind == SOURCE_IMAGES ? layout_load_folder(l, fd, e) : rootfs_load_folder(l, fd, e);
}

static int load_tar(struct load *l, int fd, struct err *e)
{
    enum source_kind kind = l->opt->kind;
    if (kind == SOURCE_AUTO && lseek(fd, 0, SEEK_CUR) < 0)
        kind = SOURCE_IMAGES;
    int ret = kind == SOURCE_AUTO ? guess_tar(l, fd, &kind, e) : 0;
    if (ret < 0)
        return ret;
    return kind == SOURCE_IMAGES ? archive_load(l, fd, e) : rootfs_load_tar(l, fd, e);
}

/* A fifo would hold open(2) until somebody writes to it, out of reach of a cancellation. Opened so it does
 * not; its reader waits, with poll(2). */
static int open_path(const char *path)
{
    if (strcmp(path, "-") == 0)
        return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        fcntl(fd, F_SETFL, 0);
    return fd;
}

static int load_path(struct load *l, struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = open_path(l->path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "cannot open it");
    int ret = S_ISDIR(st.st_mode) ? load_folder(l, fd, e) : load_tar(l, fd, e);
    if (ret == 0 && l->loaded == 0)
        ret = l->opt->select ? err_set(e, OCI_E_NOT_FOUND, "no image in it is called '%s'", l->opt->select)
                             : err_set(e, OCI_E_NOT_FOUND, "there is no image in it");
    return ret;
}

int source_load(struct store_lease *l, const char *path, const struct source_options *o, struct err *e)
{
    struct load load = {.lease = l, .store = l->store, .opt = o, .path = path};
    if (o->limits)
        load.limits = *o->limits;
    else
        oci_limits_init(&load.limits);
    if (o->platform)
        load.want = *o->platform;
    else
        platform_host(&load.want);
    int ret = load_path(&load, e);
    if (ret < 0)
        err_prefix(e, "'%s'", path);
    return ret;
}
