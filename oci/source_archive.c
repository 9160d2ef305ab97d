/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a tar of images is read once, front to back. Blobs go into the store as they pass, by
 * the digest that their name promises or, in the old form of `docker save`, by the one that their bytes have;
 * the few documents at the top are kept in memory. Names lead nowhere but into a table, yet one that is
 * absolute or climbs with ".." is refused, because who writes such names means harm. At the end the table
 * serves as what a folder's files would have been.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <archive_entry.h>
#include <errno.h>
#include <poll.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_CHUNK     (256 * 1024)
#define ENTRY_NAME_MAX 4096
#define FILES_MAX      100000 /* files and links of an archive */
#define LINKS_MAX      8      /* links that are followed one after the other */
#define BLOBS          "blobs/sha256/"

struct document {
    char *text;
    size_t len;
};

struct files {
    struct load *load;
    void *by_name; /* tsearch tree of struct archived */
    size_t count;
    uint64_t bytes; /* of all blobs */
    struct document layout, index, list;
};

/* What a reader reads from. */
struct input {
    int fd, cancel_fd;
    char buf[COPY_CHUNK];
};

/* A pipe may stay silent for ever, so that a cancellation is waited for beside it. */
static la_ssize_t read_input(struct archive *a, void *context, const void **data)
{
    struct input *in = context;
    struct pollfd wait[] = {{.fd = in->fd, .events = POLLIN}, {.fd = in->cancel_fd, .events = POLLIN}};
    ssize_t n = -1;
    do {
        if (poll(wait, ARRAY_LEN(wait), -1) < 0)
            continue;
        if (wait[1].revents) {
            archive_set_error(a, ECANCELED, "interrupted");
            return ARCHIVE_FATAL;
        }
        n = read(in->fd, in->buf, sizeof(in->buf));
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        archive_set_error(a, errno, "%s", strerror(errno));
    *data = in->buf;
    return n < 0 ? ARCHIVE_FATAL : n;
}

static int close_input(struct archive *a, void *context)
{
    (void)a;
    free(context);
    return ARCHIVE_OK;
}

struct archive *source_reader(const struct load *l, int fd, int (*format)(struct archive *))
{
    CLEANUP(mem_freep) struct input *in = malloc(sizeof(*in));
    CLEANUP(tar_reader_closep) struct archive *a = archive_read_new();
    if (!in || !a)
        return NULL;
    in->fd = fd;
    in->cancel_fd = l->opt->cancel_fd;
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    format(a);
    /* Errors of opening are told again by the first read. */
    archive_read_open(a, STEAL(in), NULL, read_input, close_input);
    return STEAL(a);
}

struct archive *tar_reader(const struct load *l, int fd)
{
    return source_reader(l, fd, archive_read_support_format_tar);
}

void tar_reader_closep(struct archive **a)
{
    if (*a)
        archive_read_free(*a);
}

int tar_error(const struct load *l, struct archive *a, struct err *e)
{
    int ret = load_check_cancelled(l, e);
    if (ret < 0)
        return ret;
    const char *why = archive_error_string(a);
    return err_set(e, OCI_E_FORMAT, "it cannot be read as a tar: %s", why ? why : "it ends too early");
}

int tar_copy(const struct load *l, struct archive *a, struct blob_writer *w, struct err *e)
{
    CLEANUP(mem_freep) char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return err_set(e, -ENOMEM, "no memory to read a tar");
    for (;;) {
        int ret = load_check_cancelled(l, e);
        if (ret < 0)
            return ret;
        ssize_t n = archive_read_data(a, buf, COPY_CHUNK);
        if (n <= 0)
            return n == 0 ? 0 : tar_error(l, a, e);
        ret = blob_writer_write(w, buf, (size_t)n, e);
        if (ret < 0)
            return ret;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct archived *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void archived_free(void *p)
{
    struct archived *f = p;
    free(f->name);
    free(f->target);
    free(f);
}

static void archived_freep(struct archived **f)
{
    if (*f)
        archived_free(*f);
}

/* A new entry of the table; a name that was there before is refused. */
static int add_file(struct files *f, const char *name, struct archived **out, struct err *e)
{
    CLEANUP(archived_freep) struct archived *file = calloc(1, sizeof(*file));
    if (f->count == FILES_MAX)
        return err_set(e, OCI_E_LIMIT, "it has more than %d files", FILES_MAX);
    if (!file || !(file->name = strdup(name)))
        return err_set(e, -ENOMEM, "no memory for a list of files");
    struct archived **found = tsearch(file, &f->by_name, by_name);
    if (!found)
        return err_set(e, -ENOMEM, "no memory for a list of files");
    if (*found != file)
        return err_set(e, OCI_E_FORMAT, "'%.100s' is in it twice", name);
    f->count++;
    *out = STEAL(file);
    return 0;
}

/* Copies a name without "./" and needless slashes; refuses what leads outside. */
static int clean_name(char out[ENTRY_NAME_MAX], const char *name, struct err *e)
{
    char copy[ENTRY_NAME_MAX], *rest = copy;
    if (!name || strlen(name) >= ENTRY_NAME_MAX)
        return err_set(e, OCI_E_FORMAT, "it has an entry whose name is too long or cannot be read");
    if (name[0] == '/')
        return err_set(e, OCI_E_FORMAT, "its entry '%.100s' has an absolute name", name);
    strcpy(copy, name);
    out[0] = '\0';
    for (char *word; (word = strsep(&rest, "/"));) {
        if (!*word || strcmp(word, ".") == 0)
            continue;
        if (strcmp(word, "..") == 0)
            return err_set(e, OCI_E_FORMAT, "its entry '%.100s' leads outside", name);
        if (out[0])
            strcat(out, "/");
        strcat(out, word);
    }
    return 0;
}

/* Where a symbolic link in the folder of `name` leads: "../<layer>/layer.tar" is how `docker save` says that
 * a layer is the same as another. */
static int link_target(char out[ENTRY_NAME_MAX], const char *name, const char *target, struct err *e)
{
    char joined[2 * ENTRY_NAME_MAX];
    size_t depth = 0, used = 0;
    if (target[0] == '/')
        return clean_name(out, target, e);
    for (const char *c = name; *c; c++)
        depth += *c == '/';
    const char *rest = target;
    while (strncmp(rest, "../", 3) == 0 && depth > 0) {
        rest += 3;
        depth--;
    }
    for (const char *c = name; depth > 0; c++) {
        joined[used++] = *c;
        depth -= *c == '/';
    }
    snprintf(joined + used, ENTRY_NAME_MAX, "%s", rest);
    return clean_name(out, joined, e);
}

static int take_link(struct files *f, const char *name, const char *target, bool symbolic, struct err *e)
{
    char cleaned[ENTRY_NAME_MAX] = "";
    struct archived *file = NULL;
    int ret = !target    ? err_set(e, OCI_E_FORMAT, "its link '%.100s' cannot be read", name)
              : symbolic ? link_target(cleaned, name, target, e)
                         : clean_name(cleaned, target, e);
    if (ret == 0)
        ret = add_file(f, name, &file, e);
    if (!file)
        return ret;
    file->target = strdup(cleaned);
    return file->target ? 0 : err_set(e, -ENOMEM, "no memory for a link");
}

/* Accounts for a blob; all of an archive may be as large as an image. */
static int count_bytes(struct files *f, uint64_t size, struct err *e)
{
    if (__builtin_add_overflow(f->bytes, size, &f->bytes) || f->bytes > f->load->limits.image_bytes)
        return err_set(e, OCI_E_LIMIT, "its blobs have more than %llu bytes (limit image_bytes)",
                       (unsigned long long)f->load->limits.image_bytes);
    return 0;
}

/* A blob named by its digest. */
static int take_blob(struct files *f, struct archive *a, const char *name, uint64_t size, struct err *e)
{
    struct load *l = f->load;
    struct archived *file = NULL;
    struct blob_writer *w = NULL;
    struct descriptor d = {.size = size};
    if (!digest_from_hex(&d.digest, name + strlen(BLOBS)))
        return err_set(e, OCI_E_FORMAT, "its blob '%.100s' is not named by a digest", name);
    if (size > l->limits.blob_bytes)
        return err_set(e, OCI_E_LIMIT, "'%s' has %llu bytes, more than %llu (limit blob_bytes)", name,
                       (unsigned long long)size, (unsigned long long)l->limits.blob_bytes);
    int ret = add_file(f, name, &file, e);
    if (ret == 0)
        ret = count_bytes(f, size, e);
    if (ret < 0)
        return ret;
    file->blob = d;
    ret = store_blob_begin(l->lease, &d.digest, size, l->opt->cancel_fd, &w, e);
    if (ret != 0)
        return ret < 0 ? ret : 0;
    ret = blob_writer_restart(w, e);
    if (ret == 0)
        ret = tar_copy(l, a, w, e);
    if (ret == 0)
        return blob_writer_commit(w, e);
    blob_writer_abort(w);
    return ret;
}

/* A blob named otherwise: it gets the digest that it has. */
static int take_file(struct files *f, struct archive *a, const char *name, struct err *e)
{
    struct load *l = f->load;
    struct archived *file = NULL;
    struct blob_writer *w = NULL;
    int ret = add_file(f, name, &file, e);
    if (ret == 0)
        ret = store_blob_create(l->lease, l->limits.layer_bytes, &w, e);
    if (ret < 0)
        return ret;
    ret = tar_copy(l, a, w, e);
    if (ret < 0) {
        blob_writer_abort(w);
        return ret;
    }
    ret = blob_writer_commit_new(w, l->lease, &file->blob.digest, &file->blob.size, e);
    return ret < 0 ? ret : count_bytes(f, file->blob.size, e);
}

static int take_document(struct files *f, struct document *d, struct archive *a, const char *name,
                         uint64_t size, struct err *e)
{
    uint64_t max = f->load->limits.manifest_bytes;
    if (size > max)
        return err_set(e, OCI_E_LIMIT, "'%s' has %llu bytes, more than %llu (limit manifest_bytes)", name,
                       (unsigned long long)size, (unsigned long long)max);
    if (d->text)
        return err_set(e, OCI_E_FORMAT, "'%s' is in it twice", name);
    d->text = malloc(size + 1);
    if (!d->text)
        return err_set(e, -ENOMEM, "no memory for '%s'", name);
    ssize_t n = archive_read_data(a, d->text, size);
    if (n < 0 || (uint64_t)n != size)
        return tar_error(f->load, a, e);
    d->len = size;
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

static int take_regular(struct files *f, struct archive *a, const char *name, uint64_t size, struct err *e)
{
    if (strcmp(name, "oci-layout") == 0)
        return take_document(f, &f->layout, a, name, size, e);
    if (strcmp(name, "index.json") == 0)
        return take_document(f, &f->index, a, name, size, e);
    if (strcmp(name, "manifest.json") == 0)
        return take_document(f, &f->list, a, name, size, e);
    if (strncmp(name, BLOBS, strlen(BLOBS)) == 0)
        return take_blob(f, a, name, size, e);
    if (ends_with(name, ".tar") || (ends_with(name, ".json") && !strchr(name, '/')))
        return take_file(f, a, name, e);
    return 0; /* VERSION, repositories and the like */
}

static int take_entry(struct files *f, struct archive *a, struct archive_entry *entry, struct err *e)
{
    char name[ENTRY_NAME_MAX] = "";
    int ret = clean_name(name, archive_entry_pathname(entry), e);
    if (ret < 0)
        return ret;
    if (archive_entry_hardlink(entry))
        return take_link(f, name, archive_entry_hardlink(entry), false, e);
    switch (archive_entry_filetype(entry)) {
    case AE_IFDIR:
        return 0;
    case AE_IFLNK:
        return take_link(f, name, archive_entry_symlink(entry), true, e);
    case AE_IFREG:
        if (archive_entry_size(entry) < 0)
            return err_set(e, OCI_E_FORMAT, "its entry '%.100s' has a negative size", name);
        return take_regular(f, a, name, (uint64_t)archive_entry_size(entry), e);
    default:
        return err_set(e, OCI_E_FORMAT, "its entry '%.100s' is neither file, folder nor link", name);
    }
}

static const struct archived *find_file(void *context, const char *name)
{
    const struct files *f = context;
    struct archived key = {.name = (char *)name};
    for (int i = 0; i < LINKS_MAX; i++) {
        struct archived *const *found = tfind(&key, &f->by_name, by_name);
        if (!found || digest_is_set(&(*found)->blob.digest))
            return found ? *found : NULL;
        key.name = (*found)->target;
    }
    return NULL;
}

/* The archive had the blob, so the store has it. */
static int see_blob(void *context, const struct descriptor *d, struct err *e)
{
    char name[sizeof(BLOBS) + DIGEST_HEX_LEN];
    snprintf(name, sizeof(name), BLOBS "%s", digest_hex(&d->digest));
    const struct archived *file = find_file(context, name);
    if (!file)
        return err_set(e, OCI_E_NOT_FOUND, "'%s' is missing in it", name);
    if (file->blob.size != d->size)
        return err_set(e, OCI_E_DIGEST, "'%s' in it has %llu bytes where %llu were promised", name,
                       (unsigned long long)file->blob.size, (unsigned long long)d->size);
    return 0;
}

static int load_images(struct files *f, struct err *e)
{
    const struct blob_supply supply = {.bring = see_blob, .context = f};
    if (f->layout.text && f->index.text) {
        int ret = layout_check_version(f->layout.text, f->layout.len, e);
        return ret < 0 ? ret : layout_load(f->load, f->index.text, f->index.len, &supply, e);
    }
    if (f->list.text)
        return docker_load(f->load, f->list.text, f->list.len, find_file, f, e);
    return err_set(e, OCI_E_FORMAT, "it is neither an OCI image layout nor what 'docker save' writes");
}

static int read_entries(struct files *f, struct archive *a, struct err *e)
{
    for (;;) {
        struct archive_entry *entry;
        int ret = archive_read_next_header(a, &entry);
        if (ret == ARCHIVE_EOF)
            return 0;
        if (ret < ARCHIVE_WARN)
            return tar_error(f->load, a, e);
        ret = load_check_cancelled(f->load, e);
        if (ret == 0)
            ret = take_entry(f, a, entry, e);
        if (ret < 0)
            return ret;
    }
}

int archive_load(struct load *l, int fd, struct err *e)
{
    struct files f = {.load = l};
    CLEANUP(tar_reader_closep) struct archive *a = tar_reader(l, fd);
    int ret = a ? read_entries(&f, a, e) : err_set(e, -ENOMEM, "no memory to read a tar");
    if (ret == 0)
        ret = load_images(&f, e);
    tdestroy(f.by_name, archived_free);
    free(f.layout.text);
    free(f.index.text);
    free(f.list.text);
    return ret;
}
