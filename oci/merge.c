/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: for each layer an inflater (a thread of its own) feeds libarchive, which reads tar in
 * all its dialects: pax, GNU long names and sparse files. Each entry goes straight into the ext4 writer
 * (oci/merge_entry.c), data by data block, so that a layer passes through once and nothing of it is kept but
 * names. What follows the end of the archive is read as well, because the digests cover it.
 *
 * libarchive holds a single pax header below a megabyte, but follows chains of them, and sparse maps of any
 * length; so read_piece() counts what it asks for while it reads headers. It would also convert names between
 * character sets: under the "C" locale it gives up on any byte beyond ASCII, says so, and leaves the name as
 * it is, which is just what is wanted.
 *
 * Some builders end a layer right behind the last file's bytes, in the middle of a record. libarchive refuses
 * that, Go's reader and so all container engines do not: the zeros that are missing are added.
 */
#include "oci/merge_inner.h"

#include "oci/oci_error.h"
#include "oci/printable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Looking up and pruning, each entry on average: folders of its path, links on the way, names removed. */
#define STEPS_PER_ENTRY 64u
/* Slack for headers: what a piece of the inflater holds beyond them. */
#define HEADER_SLACK ((uint64_t)512 << 10)
#define TAR_RECORD   512u

int merge_step(struct merge *m, struct err *e)
{
    if (m->steps++ < (m->limits.entries + 1024) * STEPS_PER_ENTRY)
        return 0;
    return err_set(e, OCI_E_LIMIT, "the layers take more steps to merge than %llu entries may (entries)",
                   (unsigned long long)m->limits.entries);
}

int merge_count(const struct merge *m, struct err *e)
{
    if (m->stats.entries + m->folders_made <= m->limits.entries)
        return 0;
    return err_set(e, OCI_E_LIMIT,
                   "the layers hold more than %llu entries, folders on their way included (entries)",
                   (unsigned long long)m->limits.entries);
}

static void merge_free(struct merge *m)
{
    path_buffers_destroy(m);
    if (m->locale)
        freelocale(m->locale);
    free(m);
}

int merge_create(struct merge **out, const char *path, const struct merge_params *p, struct err *e)
{
    struct merge *m = calloc(1, sizeof(*m));
    if (!m)
        return err_set(e, -ENOMEM, "cannot allocate the merge of '%s'", path);
    m->params = *p;
    if (p->limits)
        m->limits = *p->limits;
    else
        oci_limits_init(&m->limits);
    m->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    struct ext4_params image = {.created = p->created, .cancelled = p->cancelled, .ctx = p->ctx};
    memcpy(image.uuid, p->uuid, sizeof(image.uuid));
    snprintf(image.label, sizeof(image.label), "%s", p->label[0] ? p->label : "cubby-root");
    int ret = m->locale ? path_buffers_create(m, e) : err_sys(e, "cannot make a locale");
    if (ret == 0)
        ret = ext4_image_create(&m->img, path, &image, e);
    if (ret < 0) {
        merge_free(m);
        return ret;
    }
    m->tree = ext4_image_tree(m->img);
    *out = m;
    return 0;
}

void merge_get_stats(const struct merge *m, struct merge_stats *out)
{
    *out = m->stats;
}

int merge_finish(struct merge *m, struct err *e)
{
    struct err own = {0};
    if (!e)
        e = &own;
    int ret = ext4_image_close(m->img, e);
    if (ret == -EOVERFLOW) /* the folders, or what goes around everything, did not fit any more */
        ret = e->code = OCI_E_LIMIT;
    merge_free(m);
    return ret;
}

void merge_abort(struct merge *m)
{
    if (!m)
        return;
    ext4_image_abort(m->img);
    merge_free(m);
}

/* --- one layer --- */

/* What the last record lacks, once, and only behind data: a header that is cut off stays an error. */
static la_ssize_t pad_record(struct layer *l, const void **data)
{
    static const uint8_t zeros[TAR_RECORD];
    size_t over = inflate_bytes_out(l->in) % TAR_RECORD;
    if (l->in_header || l->padded || over == 0)
        return 0;
    l->padded = true;
    *data = zeros;
    return (la_ssize_t)(TAR_RECORD - over);
}

/* libarchive's source. */
static la_ssize_t read_piece(struct archive *tar, void *ctx, const void **data)
{
    struct layer *l = ctx;
    struct merge *m = l->m;
    if (m->params.cancelled && m->params.cancelled(m->params.ctx))
        err_set(&l->err, -ECANCELED, "interrupted");
    ssize_t n = l->err.code < 0 ? l->err.code : inflate_read(l->in, data, &l->err);
    if (n > 0 && l->in_header) {
        if ((uint64_t)n > l->header_left)
            n = err_set(&l->err, OCI_E_LIMIT,
                        "the headers of an entry are larger than %llu bytes (header_bytes)",
                        (unsigned long long)m->limits.header_bytes);
        else
            l->header_left -= (uint64_t)n;
    }
    if (n >= 0)
        return n > 0 ? n : pad_record(l, data);
    archive_set_error(tar, EIO, "the layer cannot be read");
    return -1;
}

static int open_tar(struct layer *l, struct err *e)
{
    l->tar = archive_read_new();
    if (!l->tar)
        return err_set(e, -ENOMEM, "cannot allocate a tar reader");
    l->in_header = true;
    l->header_left = l->m->limits.header_bytes + HEADER_SLACK;
    if (archive_read_support_format_tar(l->tar) != ARCHIVE_OK ||
        archive_read_support_format_empty(l->tar) != ARCHIVE_OK ||
        archive_read_open(l->tar, l, NULL, read_piece, NULL) != ARCHIVE_OK)
        return l->err.code < 0 ? l->err.code : err_set(e, OCI_E_FORMAT, "%s", archive_error_string(l->tar));
    return 0;
}

/* True for the complaint that a name is not ASCII: the name is as it was, see above. */
static bool only_about_names(struct archive *tar)
{
    const char *text = archive_error_string(tar);
    return text && strstr(text, "can't be converted from ");
}

/* The next entry: 1, 0 at the end of the archive, or a negative code. */
static int next_entry(struct layer *l, struct archive_entry **entry, struct err *e)
{
    l->in_header = true;
    l->header_left = l->m->limits.header_bytes + HEADER_SLACK;
    int rc = archive_read_next_header(l->tar, entry);
    l->in_header = false;
    if (rc == ARCHIVE_EOF)
        return 0;
    if (rc == ARCHIVE_OK || (rc == ARCHIVE_WARN && only_about_names(l->tar)))
        return 1;
    if (l->err.code < 0)
        return l->err.code;
    const char *why = archive_error_string(l->tar);
    return err_set(e, OCI_E_FORMAT, "%s", why ? why : "damaged tar archive");
}

/* An error that an entry has brought about is the layer's fault; the host's own stay what they are: -EFBIG is
 * one of them. */
static int entry_failed(struct archive_entry *entry, struct err *e)
{
    char text[PRINTABLE_CAP];
    const char *path = archive_entry_pathname(entry);
    switch (e->code) {
    case -EINVAL:
    case -ENAMETOOLONG:
    case -ENOTSUP:
        e->code = OCI_E_FORMAT;
        break;
    case -EOVERFLOW:
    case -E2BIG:
    case -EMLINK:
        e->code = OCI_E_LIMIT;
        break;
    default:
        break;
    }
    return err_prefix(e, "entry '%s'", printable(path ? path : "", text));
}

static int read_entries(struct layer *l, struct err *e)
{
    struct archive_entry *entry;
    int ret;
    while ((ret = next_entry(l, &entry, e)) > 0) {
        l->m->stats.entries++;
        ret = merge_count(l->m, e);
        if (ret < 0)
            return ret;
        ret = merge_entry(l, entry, e);
        if (ret == 0 && archive_read_data_skip(l->tar) < ARCHIVE_WARN)
            ret =
                l->err.code < 0 ? l->err.code : err_set(e, OCI_E_FORMAT, "%s", archive_error_string(l->tar));
        if (ret < 0 && l->err.code == 0)
            return entry_failed(entry, e);
        if (ret < 0)
            return ret;
    }
    return ret;
}

/* What is behind the end of the archive. */
static int read_rest(struct layer *l, struct err *e)
{
    const void *data;
    ssize_t n;
    do {
        if (l->m->params.cancelled && l->m->params.cancelled(l->m->params.ctx))
            return err_set(e, -ECANCELED, "interrupted");
        n = inflate_read(l->in, &data, &l->err);
    } while (n > 0);
    return (int)n;
}

static int read_layer(struct layer *l, struct err *e)
{
    locale_t before = uselocale(l->m->locale);
    int ret = open_tar(l, e);
    if (ret == 0)
        ret = read_entries(l, e);
    if (ret == 0)
        ret = read_rest(l, e);
    archive_read_free(l->tar);
    uselocale(before);
    return ret;
}

/* Errors of the source name the layer already. */
static int layer_failed(const struct layer *l, struct err *e)
{
    if (l->err.code < 0)
        *e = l->err;
    if (strncmp(e->text, "layer ", 6) == 0)
        return e->code;
    if (digest_is_set(&l->info->blob))
        return err_prefix(e, "layer %u (%s)", l->info->index, l->info->blob.text);
    return err_prefix(e, "layer %u", l->info->index);
}

int merge_layer(struct merge *m, const struct layer_info *info, const struct byte_source *source,
                struct err *e)
{
    struct err own = {0};
    struct layer l = {.m = m, .info = info};
    if (!e)
        e = &own;
    if (m->layer == UINT16_MAX)
        return err_set(e, OCI_E_LIMIT, "an image of more than %u layers", UINT16_MAX);
    m->layer++;
    uint64_t left = m->limits.image_bytes > m->stats.bytes ? m->limits.image_bytes - m->stats.bytes : 0;
    int ret = inflate_create(&l.in, info, &m->limits, left, source, e);
    if (ret < 0)
        return ret;
    ret = read_layer(&l, e);
    m->stats.bytes += inflate_bytes_out(l.in);
    m->stats.bytes_in += inflate_bytes_in(l.in);
    inflate_destroy(l.in);
    return ret < 0 ? layer_failed(&l, e) : 0;
}
