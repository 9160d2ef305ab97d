/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the references' blobs are copied one after the other, each once however many images
 * share it; index.json and manifest.json, which name them, follow at the end. Owner, mode and time of the
 * entries are fixed. The blobs stay while they are copied, because each is open with the store's lock;
 * between two of them gc may win, which is then an error and not half an image.
 */
#include "oci/export.h"

#include "base/io.h"
#include "base/own.h"
#include "oci/descriptor.h"
#include "oci/oci_error.h"
#include "oci/ref.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_CHUNK (256 * 1024)
#define LAYOUT     "{\"imageLayoutVersion\":\"1.0.0\"}"

struct exporter {
    struct store *store;
    struct archive *a;
    int fd, cancel_fd;
    int error;              /* errno of the write that failed */
    bool in_header, failed; /* failed: nothing more is to be written */
    void *written;          /* tsearch tree of struct digest */
    json_t *index, *list;
    char *copy; /* COPY_CHUNK bytes */
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "no memory to save images");
}

/* A pipe takes PIPE_BUF bytes at once when it says that it takes any, so that no write sleeps where a
 * cancellation cannot reach it. Files and disks do not wait for a reader. */
static int write_out(const struct exporter *x, const char *data, size_t len)
{
    struct stat st;
    if (fstat(x->fd, &st) < 0 || S_ISREG(st.st_mode))
        return write_full(x->fd, data, len);
    int ret = 0;
    for (size_t n = 0; len > 0 && ret == 0; data += n, len -= n) {
        struct pollfd wait[] = {{.fd = x->fd, .events = POLLOUT}, {.fd = x->cancel_fd, .events = POLLIN}};
        n = 0;
        if (poll(wait, ARRAY_LEN(wait), -1) < 0)
            ret = errno == EINTR ? 0 : -errno;
        else if (wait[1].revents)
            ret = -ECANCELED;
        else
            ret = write_full(x->fd, data, n = len < PIPE_BUF ? len : PIPE_BUF);
    }
    return ret;
}

/* Once failed, it fails for ever, but does not tell libarchive within a header: as in oci/tar_folder.c. */
static la_ssize_t write_to_fd(struct archive *a, void *context, const void *data, size_t len)
{
    struct exporter *x = context;
    if (!x->error)
        x->error = x->failed ? EIO : -write_out(x, data, len);
    if (!x->error || x->in_header)
        return (la_ssize_t)len;
    archive_set_error(a, x->error, "the archive cannot be written");
    return -1;
}

static int write_error(const struct exporter *x, struct err *e)
{
    const char *text = archive_error_string(x->a);
    if (x->error == ECANCELED)
        return err_set(e, -ECANCELED, "interrupted");
    if (x->error)
        return err_set(e, -x->error, "cannot write the archive: %s", strerror(x->error));
    return err_set(e, -EIO, "cannot write the archive: %s", text ? text : "unknown error");
}

static int write_bytes(const struct exporter *x, const void *data, size_t len, struct err *e)
{
    const char *p = data;
    while (len > 0) {
        la_ssize_t n = archive_write_data(x->a, p, len);
        if (n <= 0)
            return write_error(x, e);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_header(struct exporter *x, const char *name, mode_t mode, uint64_t size, struct err *e)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return no_memory(e);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, mode);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, 0, 0);
    x->in_header = true;
    int ret = archive_write_header(x->a, entry);
    x->in_header = false;
    archive_entry_free(entry);
    return ret < ARCHIVE_WARN || x->error ? write_error(x, e) : 0;
}

static int write_text(struct exporter *x, const char *name, const char *text, struct err *e)
{
    int ret = write_header(x, name, AE_IFREG | 0644, strlen(text), e);
    return ret < 0 ? ret : write_bytes(x, text, strlen(text), e);
}

static int write_json(struct exporter *x, const char *name, const json_t *doc, struct err *e)
{
    CLEANUP(mem_freep) char *text = json_dumps(doc, JSON_COMPACT);
    return text ? write_text(x, name, text, e) : no_memory(e);
}

/* Copies and hashes. */
static int copy_blob(const struct exporter *x, int blob, struct hasher *h, const struct descriptor *d,
                     struct err *e)
{
    struct pollfd cancel = {.fd = x->cancel_fd, .events = POLLIN};
    struct digest is;
    for (;;) {
        if (poll(&cancel, 1, 0) > 0)
            return err_set(e, -ECANCELED, "interrupted");
        ssize_t n = read(blob, x->copy, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "cannot read blob %s", d->digest.text);
        if (n == 0)
            break;
        hasher_update(h, x->copy, (size_t)n);
        int ret = write_bytes(x, x->copy, (size_t)n, e);
        if (ret < 0)
            return ret;
    }
    int ret = hasher_finish(h, &is, e);
    if (ret == 0 && !digest_equal(&is, &d->digest))
        ret = err_set(e, OCI_E_DIGEST, "blob %s is damaged in the store: remove the image and pull it again",
                      d->digest.text);
    return ret;
}

static int by_digest(const void *a, const void *b)
{
    const struct digest *x = a, *y = b;
    return strcmp(x->text, y->text);
}

/* 1 when the blob is to be written, 0 when it was. */
static int is_fresh(struct exporter *x, const struct digest *d, struct err *e)
{
    struct digest *copy = malloc(sizeof(*copy));
    if (!copy)
        return no_memory(e);
    *copy = *d;
    struct digest **found = tsearch(copy, &x->written, by_digest);
    int ret = !found ? no_memory(e) : *found == copy;
    if (!found || *found != copy)
        free(copy);
    return ret;
}

static int write_blob(struct exporter *x, const struct descriptor *d, struct err *e)
{
    char name[DIGEST_HEX_LEN + 16];
    uint64_t size = 0;
    CLEANUP(hasher_destroyp) struct hasher *h = NULL;
    int ret = is_fresh(x, &d->digest, e);
    if (ret <= 0)
        return ret;
    CLEANUP(fd_closep) int blob = store_blob_open(x->store, &d->digest, &size, e);
    if (blob < 0)
        return blob;
    if (size != d->size)
        return err_set(e, OCI_E_DIGEST, "blob %s has %llu bytes where %llu were promised", d->digest.text,
                       (unsigned long long)size, (unsigned long long)d->size);
    snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(&d->digest));
    ret = hasher_create(&h, e);
    if (ret == 0)
        ret = write_header(x, name, AE_IFREG | 0644, size, e);
    return ret < 0 ? ret : copy_blob(x, blob, h, d, e);
}

/* The reference's line in index.json. */
static int add_to_index(struct exporter *x, const struct image_ref *r, const struct oci_ref *name,
                        struct err *e)
{
    json_t *entry = descriptor_format(&r->manifest);
    json_t *platform = json_pack("{s:s, s:s}", "architecture", r->platform.arch, "os", r->platform.os);
    json_t *notes = json_pack("{s:s}", "io.containerd.image.name", r->name);
    if (r->platform.variant[0])
        json_object_set_new(platform, "variant", json_string(r->platform.variant));
    if (name->tag[0])
        json_object_set_new(notes, "org.opencontainers.image.ref.name", json_string(name->tag));
    if (json_object_set_new(entry, "platform", platform) < 0 ||
        json_object_set_new(entry, "annotations", notes) < 0 || json_array_append_new(x->index, entry) < 0)
        return no_memory(e);
    return 0;
}

/* The image's object in manifest.json. */
static int add_to_list(struct exporter *x, const struct manifest *m, const struct oci_ref *name,
                       struct err *e)
{
    char text[REF_TEXT_MAX], path[DIGEST_HEX_LEN + 16];
    json_t *layers = json_array(), *tags = json_array();
    for (size_t i = 0; i < m->nlayers; i++) {
        snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(&m->layer[i].digest));
        if (json_array_append_new(layers, json_string(path)) < 0)
            break;
    }
    /* `docker load` takes no digest for a name. */
    if (name->tag[0] && !name->has_digest) {
        oci_ref_familiar(name, text);
        json_array_append_new(tags, json_string(text));
    }
    bool complete = json_array_size(layers) == m->nlayers;
    snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(&m->config.digest));
    json_t *image = json_pack("{s:s, s:o, s:o}", "Config", path, "RepoTags", tags, "Layers", layers);
    return json_array_append_new(x->list, image) < 0 || !complete ? no_memory(e) : 0;
}

static int write_image(struct exporter *x, const struct image_ref *r, struct err *e)
{
    struct manifest m = {0};
    struct oci_ref name;
    int ret = oci_ref_parse(&name, r->name, e);
    if (ret == 0)
        ret = store_manifest_load(x->store, &r->manifest.digest, NULL, &m, e);
    if (ret < 0)
        return ret;
    ret = write_blob(x, &r->manifest, e);
    if (ret == 0)
        ret = write_blob(x, &m.config, e);
    for (size_t i = 0; i < m.nlayers && ret == 0; i++)
        ret = write_blob(x, &m.layer[i], e);
    if (ret == 0)
        ret = add_to_index(x, r, &name, e);
    if (ret == 0)
        ret = add_to_list(x, &m, &name, e);
    manifest_fini(&m);
    if (ret < 0)
        err_prefix(e, "cannot save image '%s'", r->name);
    return ret;
}

static int write_all(struct exporter *x, const struct image_ref *refs, size_t count, struct err *e)
{
    archive_write_set_format_pax_restricted(x->a);
    archive_write_add_filter_none(x->a);
    if (archive_write_open2(x->a, x, NULL, write_to_fd, NULL, NULL) < ARCHIVE_WARN)
        return write_error(x, e);
    int ret = write_text(x, "oci-layout", LAYOUT, e);
    /* Without entries of their own for the folders, skopeo of a user who is not root cannot unpack it. */
    if (ret == 0)
        ret = write_header(x, "blobs/", AE_IFDIR | 0755, 0, e);
    if (ret == 0)
        ret = write_header(x, "blobs/sha256/", AE_IFDIR | 0755, 0, e);
    for (size_t i = 0; i < count && ret == 0; i++)
        ret = write_image(x, &refs[i], e);
    if (ret < 0)
        return ret;
    CLEANUP(json_decrefpp)
    json_t *index =
        json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX, "manifests", x->index);
    ret = index ? write_json(x, "index.json", index, e) : no_memory(e);
    if (ret == 0)
        ret = write_json(x, "manifest.json", x->list, e);
    if (ret == 0 && archive_write_close(x->a) < ARCHIVE_WARN)
        ret = write_error(x, e);
    return ret;
}

int store_export(struct store *s, const struct image_ref *refs, size_t count, int fd, int cancel_fd,
                 struct err *e)
{
    CLEANUP(mem_freep) char *copy = malloc(COPY_CHUNK);
    struct exporter x = {.store = s,
                         .a = archive_write_new(),
                         .fd = fd,
                         .cancel_fd = cancel_fd,
                         .index = json_array(),
                         .list = json_array(),
                         .copy = copy};
    int ret = x.a && x.index && x.list && copy ? write_all(&x, refs, count, e) : no_memory(e);
    x.failed = true;
    archive_write_free(x.a);
    json_decref(x.index);
    json_decref(x.list);
    tdestroy(x.written, free);
    return ret;
}
