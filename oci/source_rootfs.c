/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a root file system becomes an image of one plain layer, so that all that follows (the
 * merge, the references, garbage collection) knows one kind of image. A tar is stored as it is, but inflated,
 * because its digest is then its DiffID; a folder is stored as the tar that oci/tar_folder.h makes of it. The
 * configuration says the platform and nothing else: the same files give the same image.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"
#include "oci/tar_folder.h"

#include <archive_entry.h>
#include <errno.h>
#include <string.h>

static int put_config(struct load *l, const struct digest *diff_id, struct descriptor *out, struct err *e)
{
    CLEANUP(json_decrefpp)
    json_t *doc = json_pack("{s:s, s:s, s:{}, s:{s:s, s:[s]}}", "architecture", l->want.arch, "os",
                            l->want.os, "config", "rootfs", "type", "layers", "diff_ids", diff_id->text);
    if (doc && l->want.variant[0])
        json_object_set_new(doc, "variant", json_string(l->want.variant));
    CLEANUP(mem_freep) char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    if (!text)
        return err_set(e, -ENOMEM, "no memory for an image configuration");
    size_t len = strlen(text);
    int ret = digest_of(&out->digest, text, len, e);
    if (ret == 0)
        ret = store_blob_put(l->lease, &out->digest, text, len, e);
    strcpy(out->media_type, MEDIA_OCI_CONFIG);
    out->size = len;
    return ret;
}

/* The layer is written: the rest of the image, and its name. */
static int finish(struct load *l, struct blob_writer *w, struct err *e)
{
    CLEANUP(mem_freep) char *name = NULL;
    struct descriptor layer = {.media_type = MEDIA_OCI_LAYER}, manifest = {0};
    struct manifest m = {.media_type = MEDIA_OCI_MANIFEST, .layer = &layer, .nlayers = 1};
    int ret = blob_writer_commit_new(w, l->lease, &layer.digest, &layer.size, e);
    if (ret == 0)
        ret = put_config(l, &layer.digest, &m.config, e);
    if (ret == 0)
        ret = load_put_manifest(l, &m, &manifest, e);
    if (ret == 0)
        ret = load_name(l, NULL, &name, e);
    return ret < 0 ? ret : load_register(l, &manifest, &manifest.digest, name, e);
}

/* The bytes of the file, inflated, whatever they are. */
static int copy_inflated(struct load *l, int fd, struct blob_writer *w, struct err *e)
{
    struct archive_entry *entry;
    CLEANUP(tar_reader_closep) struct archive *a = source_reader(l, fd, archive_read_support_format_raw);
    if (!a)
        return err_set(e, -ENOMEM, "no memory to read a tar");
    if (archive_read_next_header(a, &entry) < ARCHIVE_WARN)
        return tar_error(l, a, e);
    return tar_copy(l, a, w, e);
}

int rootfs_load_tar(struct load *l, int fd, struct err *e)
{
    struct blob_writer *w;
    int ret = store_blob_create(l->lease, l->limits.layer_bytes, &w, e);
    if (ret < 0)
        return ret;
    ret = copy_inflated(l, fd, w, e);
    if (ret == 0)
        return finish(l, w, e);
    blob_writer_abort(w);
    return ret;
}

struct sink {
    struct load *load;
    struct blob_writer *writer;
};

static int write_sink(void *context, const void *data, size_t len, struct err *e)
{
    const struct sink *s = context;
    int ret = load_check_cancelled(s->load, e);
    return ret < 0 ? ret : blob_writer_write(s->writer, data, len, e);
}

int rootfs_load_folder(struct load *l, int dir, struct err *e)
{
    struct sink s = {.load = l};
    int ret = store_blob_create(l->lease, l->limits.layer_bytes, &s.writer, e);
    if (ret < 0)
        return ret;
    ret = tar_write_folder(dir, write_sink, &s, e);
    if (ret == 0)
        return finish(l, s.writer, e);
    blob_writer_abort(s.writer);
    return ret;
}
