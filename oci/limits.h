/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much an image may ask of the host. Everything that comes from a registry or an archive is read within
 * these bounds; what goes beyond is refused with OCI_E_LIMIT, and the text names the limit by the word that
 * the configuration file knows it by.
 */
#ifndef CUBBY_OCI_LIMITS_H
#define CUBBY_OCI_LIMITS_H

#include <stdint.h>

/* The largest values that a configuration may give: what depends on them is reckoned and allocated ahead. */
#define OCI_LAYERS_MAX       65534u
#define OCI_ENTRIES_MAX      0x7fffffffu
#define OCI_PATH_BYTES_MAX   (1u << 20)
#define OCI_HEADER_BYTES_MAX (64u << 20)
/* Of a manifest or configuration that is read back from the store. */
#define OCI_STORED_BYTES_MAX (1u << 30)

struct oci_limits {
    uint64_t
        manifest_bytes; /* a manifest, an index, an archive's manifest.json. 4 MiB, as registries hold it */
    uint64_t config_bytes;  /* an image configuration. 8 MiB */
    uint64_t index_entries; /* manifests in an index. 1000 */
    uint64_t index_depth;   /* indexes inside indexes. 3 */
    uint64_t layers;        /* of one image. 500; Docker stops at 127 */
    uint64_t blob_bytes;    /* a blob as it is downloaded and stored. 64 GiB */
    uint64_t layer_bytes;   /* a layer, inflated. 64 GiB */
    uint64_t image_bytes;   /* all layers of an image, inflated. 128 GiB */
    uint64_t inflate_ratio; /* inflated bytes per compressed byte, blocks of zeros not counted, once beyond 1
                               GiB. 1100: deflate's own bound is 1032, so only zstd, whose bound is 32768, can
                               meet it. Zeros become holes, which cost no disk; an honest sparse file in zstd
                               swells as much as it can */
    uint64_t entries;       /* tar entries of all layers of an image. 4 million */
    uint64_t path_bytes;    /* a path inside a layer. 4096 (PATH_MAX) */
    uint64_t header_bytes;  /* pax headers, long names, sparse maps and attributes of one entry. 1 MiB */
};

/* The defaults, as written beside each field. */
void oci_limits_init(struct oci_limits *l);

/* For what is in the store: it was within the limits of whoever put it there, which may be wider than the
 * defaults, and are not known any more. */
void oci_limits_of_store(struct oci_limits *l);

#endif
