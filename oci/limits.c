/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the largest images that people really use need, with room to spare, and little
 * enough that a hostile one fills neither memory nor an ordinary disk. The header says each value.
 */
#include "oci/limits.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

void oci_limits_init(struct oci_limits *l)
{
    *l = (struct oci_limits){
        .manifest_bytes = 4 * MIB,
        .config_bytes = 8 * MIB,
        .index_entries = 1000,
        .index_depth = 3,
        .layers = 500,
        .blob_bytes = 64 * GIB,
        .layer_bytes = 64 * GIB,
        .image_bytes = 128 * GIB,
        .inflate_ratio = 1100,
        .entries = 4000000,
        .path_bytes = 4096,
        .header_bytes = 1 * MIB,
    };
}

void oci_limits_of_store(struct oci_limits *l)
{
    oci_limits_init(l);
    l->manifest_bytes = l->config_bytes = OCI_STORED_BYTES_MAX;
    l->layers = OCI_LAYERS_MAX;
    l->blob_bytes = UINT64_MAX;
}
