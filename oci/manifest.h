/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests and indexes: what an image consists of (OCI image-spec manifest.md and image-index.md; Docker's
 * image manifest version 2, schema 2, and manifest list).
 *
 * The parsers take bytes whose digest the caller has checked, trust nothing in them, and keep to struct
 * oci_limits. JSON with duplicate members, wrong types, negative or huge sizes, unknown or missing media
 * types of what matters, is refused: OCI_E_FORMAT, OCI_E_UNSUPPORTED or OCI_E_LIMIT, the text names the
 * member. Members that are not known are passed over, as the specification asks.
 */
#ifndef CUBBY_OCI_MANIFEST_H
#define CUBBY_OCI_MANIFEST_H

#include "base/err.h"
#include "oci/digest.h"
#include "oci/limits.h"
#include "oci/media_type.h"
#include "oci/platform.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* By value; copies freely. */
struct descriptor {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct digest digest;
    uint64_t size; /* bytes */
};

struct manifest {
    char media_type[MEDIA_TYPE_MAX + 1]; /* as the bytes say, or as their kind implies; never empty */
    struct descriptor config;
    struct descriptor *layer; /* bottom first; types are known to be layers that we can read */
    size_t nlayers;           /* 0 is possible: an empty image */
};

struct index_entry {
    struct descriptor manifest; /* or an index again */
    bool has_platform;
    struct platform platform;
    char *ref_name; /* annotation org.opencontainers.image.ref.name, or NULL */
    char *name;     /* annotation io.containerd.image.name, or NULL */
};

struct image_index {
    char media_type[MEDIA_TYPE_MAX + 1];
    struct index_entry *entry;
    size_t count;
};

/*
 * What `len` bytes are, by their "mediaType" and members; `said` is what came with them (Content-Type, or the
 * descriptor's media type; may be NULL) and must not contradict them. MEDIA_MANIFEST or MEDIA_INDEX go to
 * *kind; everything else is an error: Docker's schema 1 is OCI_E_UNSUPPORTED with a text that says what to
 * do.
 */
int manifest_kind(const void *data, size_t len, const char *said, const struct oci_limits *limits,
                  enum media_kind *kind, struct err *e);

/* Fill *out, which need not be initialised; on failure there is nothing to free. */
int manifest_parse(struct manifest *out, const void *data, size_t len, const struct oci_limits *limits,
                   struct err *e);
int index_parse(struct image_index *out, const void *data, size_t len, const struct oci_limits *limits,
                struct err *e);
void manifest_fini(struct manifest *m);
void index_fini(struct image_index *x);

/* Bytes of the configuration and all layers, as stored. */
uint64_t manifest_size(const struct manifest *m);

/*
 * The entry of the index that serves `want` best; the first of equals. An entry that does not say its
 * platform is taken when it is the only one: its configuration will tell. OCI_E_PLATFORM with the list of
 * what there is. The entry may be an index again: who follows it counts limits.index_depth.
 */
int index_choose(const struct image_index *x, const struct platform *want, const struct index_entry **out,
                 struct err *e);

/* A manifest or index as JSON, for stores and archives that we make ourselves: heap text in *out. */
int manifest_format(const struct manifest *m, char **out, size_t *len, struct err *e);

#endif
