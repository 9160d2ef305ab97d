/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store: what was pulled or loaded, by content. Below one folder (by convention <home>/images):
 *
 *     version                  "1\n"
 *     lock                     flock(2): exclusive for a change of references and for gc, shared while a
 * lease takes note of a digest; held for moments only blobs/sha256/<hex>       a complete blob: manifest,
 * configuration, layer rootfs/<hex>.ext4        the merged image of the manifest <hex> refs/<hex>.json one
 * reference; <hex> is the SHA-256 of name, NUL, platform partial/<hex>            a blob that is being
 * downloaded, or was: a prefix of its bytes, to be resumed partial/<hex>.ext4       an image that is being
 * merged, or was: garbage when its lock is free partial/tmp.*            a small file before its rename:
 * garbage when `lock` is free locks/<name of partial>  flock(2), exclusive, held by who makes that object
 *     leases/<random>          flock(2), exclusive, held by a process at work: the digests that it needs
 *
 * A file below blobs/, rootfs/ or refs/ is complete and on disk: it was written elsewhere, checked, synced,
 * renamed, and its folder synced. Nothing else is ever believed. A process may be killed at any moment.
 *
 * What is in use is not collected: a descriptor from store_blob_open() or store_rootfs_open() carries a
 * shared flock that lives as long as the open file does, across fork and exec and into whom it is passed; a
 * lease keeps what a pull has gathered until its reference is written.
 *
 * A struct store may be used by several threads. Errors are errnos of the host with the path in the text, or
 * those of oci_error.h.
 */
#ifndef CUBBY_OCI_STORE_H
#define CUBBY_OCI_STORE_H

#include "base/err.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/limits.h"
#include "oci/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct store;
struct store_lease;
struct blob_writer;
struct rootfs_writer;

/* Opens the store in the folder `path`, which is made (mode 0700) with its parents when it is not there. A
 * store on a read-only file system can be opened and read. */
int store_open(struct store **out, const char *path, struct err *e);
/* Safe on NULL. Leases and writers must be ended before. */
void store_close(struct store *s);
const char *store_path(const struct store *s);

/* --- Leases: what a process gathers stays until it has a reference. --- */

int store_lease_begin(struct store *s, struct store_lease **out, struct err *e);
/* Safe on NULL. */
void store_lease_end(struct store_lease *l);
/* Takes note of a digest before it is looked for. The functions below that take a lease do so themselves. */
int store_lease_add(struct store_lease *l, const struct digest *d, struct err *e);

/* --- Blobs --- */

/* A descriptor to read the complete blob (close-on-exec, offset 0, shared lock), its size in *size (may be
 * NULL); -ENOENT when it is not there. */
int store_blob_open(struct store *s, const struct digest *d, uint64_t *size, struct err *e);
/* Reads the complete blob once more, for who may write: true when its bytes are not those of its digest, and
 * it was removed, so that it will be downloaded again, or replaced by another. False also when it cannot be
 * read. */
bool store_blob_remove_damaged(struct store *s, const struct digest *d);
/* True when the complete blob is there, with this size. */
bool store_blob_exists(struct store *s, const struct digest *d, uint64_t size);
/* A small blob (at most `max` bytes, else OCI_E_LIMIT) in memory, its digest checked once more: OCI_E_DIGEST.
 * The caller frees *out, which has a NUL behind it. -ENOENT. Nothing is changed by looking. */
int store_blob_load(struct store *s, const struct digest *d, uint64_t max, char **out, size_t *len,
                    struct err *e);

/*
 * Begins to write a blob, alone in the world: 0 and a writer in *out; or 1 when the blob is there (complete,
 * by whomever). When another thread or process is writing it, store_blob_begin() waits until that one is done
 * (1) or gone (0), or `cancel_fd` becomes readable (-ECANCELED; -1: never); store_blob_try_begin() returns
 * -EAGAIN instead.
 *
 * What an earlier attempt left is taken up: it was hashed, and writing goes on at blob_writer_offset().
 */
int store_blob_begin(struct store_lease *l, const struct digest *d, uint64_t size, int cancel_fd,
                     struct blob_writer **out, struct err *e);
int store_blob_try_begin(struct store_lease *l, const struct digest *d, uint64_t size,
                         struct blob_writer **out, struct err *e);
/* Bytes that are there already. */
uint64_t blob_writer_offset(const struct blob_writer *w);
/* Appends. OCI_E_DIGEST when it would become longer than `size`; -ENOSPC… with the path. */
int blob_writer_write(struct blob_writer *w, const void *data, size_t len, struct err *e);
/* Forgets all bytes and starts at 0: for servers that do not know Range. */
int blob_writer_restart(struct blob_writer *w, struct err *e);
/* Checks size and digest, makes the blob durable and visible. It is not cancelled: all bytes have come, and
 * went to the disk while others did; to give up now would save nothing. The writer is freed in any case.
 * OCI_E_DIGEST: what was written is removed, so that the next attempt starts from nothing. */
int blob_writer_commit(struct blob_writer *w, struct err *e);
/* Frees the writer and keeps the bytes for a later attempt. Safe on NULL. */
void blob_writer_abort(struct blob_writer *w);

/* A blob whose digest is not known before its last byte; of at most `max` bytes (OCI_E_LIMIT). It ends in
 * blob_writer_commit_new(), which tells digest and size, or in blob_writer_abort(), which removes it. */
int store_blob_create(struct store_lease *l, uint64_t max, struct blob_writer **out, struct err *e);
int blob_writer_commit_new(struct blob_writer *w, struct store_lease *l, struct digest *d, uint64_t *size,
                           struct err *e);

/* A whole blob from memory: begin, write, commit. 0 also when it was there; a damaged one is replaced. */
int store_blob_put(struct store_lease *l, const struct digest *d, const void *data, size_t len,
                   struct err *e);

/* --- Merged root images, one per manifest --- */

/* Descriptor to read it, with a shared lock as above; -ENOENT. */
int store_rootfs_open(struct store *s, const struct digest *manifest, uint64_t *size, struct err *e);
/* The path under which a complete one is found: heap text. It stays there only while a descriptor from
 * store_rootfs_open() is open, or a lease or reference names the manifest. NULL without memory. */
char *store_rootfs_path(const struct store *s, const struct digest *manifest);

/* As store_blob_begin(): 1 when it is there. The image is to be made at rootfs_writer_path(), where there is
 * nothing yet. */
int store_rootfs_begin(struct store_lease *l, const struct digest *manifest, int cancel_fd,
                       struct rootfs_writer **out, struct err *e);
const char *rootfs_writer_path(const struct rootfs_writer *w);
/* Syncs and renames. Writing to the disk may take long: -ECANCELED when `cancel_fd` became readable (-1:
 * never) before the last bytes are there. The writer is freed in any case. */
int rootfs_writer_commit(struct rootfs_writer *w, int cancel_fd, struct err *e);
/* Frees the writer and removes its file. Safe on NULL. */
void rootfs_writer_abort(struct rootfs_writer *w);

/* --- References --- */

struct image_ref {
    char *name; /* in full, as oci/ref.h writes it: "docker.io/library/python:slim" */
    struct platform platform;
    struct descriptor manifest;
    struct digest source; /* what the name stood for: the index, or the manifest itself; may be unset */
    time_t stored_at;     /* when the reference was last written; set by the store */
};

void image_ref_fini(struct image_ref *r);
int image_ref_copy(struct image_ref *out, const struct image_ref *r, struct err *e);

/* Writes a reference, over one of the same name and platform. The manifest, its configuration and its layers
 * must be in the store, with their sizes: else OCI_E_NOT_FOUND. */
int store_ref_put(struct store_lease *l, const struct image_ref *r, struct err *e);
/* By name and platform; OCI_E_NOT_FOUND. Fills *out for image_ref_fini(). */
int store_ref_get(struct store *s, const char *name, const struct platform *p, struct image_ref *out,
                  struct err *e);
/* By an id: a prefix of at least 4 hex digits of the manifest's digest, "sha256:" before it or not.
 * OCI_E_NOT_FOUND, or OCI_E_AMBIGUOUS when several manifests begin so. The first reference of that manifest
 * goes to *out. */
int store_ref_find(struct store *s, const char *id, struct image_ref *out, struct err *e);
/* `p` NULL: of all platforms. OCI_E_NOT_FOUND when there was none. Blobs stay until gc. */
int store_ref_remove(struct store *s, const char *name, const struct platform *p, struct err *e);
/* Takes note that the image was used now, for gc by age. Failures are of no consequence. */
void store_ref_touch(struct store *s, const struct image_ref *r);

/* --- What is there --- */

struct image_info {
    struct image_ref ref;
    uint64_t size;        /* bytes of manifest, configuration and layers as stored */
    uint64_t rootfs_size; /* bytes that the merged image takes on disk; 0: not merged */
    time_t used_at;
    bool in_use; /* somebody has its merged image open */
};

struct image_list {
    struct image_info *item; /* by name, then platform */
    size_t count;
};

int store_list(struct store *s, struct image_list *out, struct err *e);
void image_list_fini(struct image_list *l);

/* Whether what tells how an image is run is there and whole: its manifest and its configuration. 0;
 * OCI_E_NOT_FOUND and OCI_E_DIGEST when a pull would mend it; or another failure. */
int store_image_check(struct store *s, const struct digest *manifest, struct err *e);
/* Whether nothing of an image has to be brought before a box can have it: these, and its root file system. 1,
 * and it is noted that it was used; 0 when something is missing or damaged; or a failure. */
int store_image_is_ready(struct store *s, const struct image_ref *r, struct err *e);

/* Manifest and configuration of a stored image, parsed and cross-checked: as many DiffIDs as layers.
 * `limits` NULL: oci_limits_of_store(). */
int store_manifest_load(struct store *s, const struct digest *manifest, const struct oci_limits *limits,
                        struct manifest *out, struct err *e);
int store_config_load(struct store *s, const struct manifest *m, const struct oci_limits *limits,
                      struct image_config *out, struct err *e);

/* --- Garbage collection --- */

struct gc_options {
    bool all;              /* references go too, unless their image is in use or kept */
    uint64_t older_than_s; /* with `all` only references not used for that long; otherwise only objects that
                              have been in the store for that long; 0: of any age */
    const struct digest *keep; /* manifests that are needed though no reference says so (stopped boxes) */
    size_t nkeep;
    bool dry_run;       /* count only */
    bool keep_partials; /* interrupted downloads stay, to be resumed */
};

struct gc_result {
    uint64_t refs, blobs, rootfs, partials; /* removed */
    uint64_t in_use;                        /* objects without a reference that somebody uses right now */
    uint64_t bytes;                         /* freed on disk */
};

/* Removes what no reference, lease, kept manifest or open descriptor reaches. `result` may be NULL. */
int store_gc(struct store *s, const struct gc_options *o, struct gc_result *result, struct err *e);

#endif
