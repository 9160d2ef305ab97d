/* SPDX-License-Identifier: Apache-2.0 */
/* The media types of images: OCI's (image-spec media-types.md) and Docker's (manifest v2 schema 2). */
#ifndef CUBBY_OCI_MEDIA_TYPE_H
#define CUBBY_OCI_MEDIA_TYPE_H

#include "base/err.h"

#define MEDIA_TYPE_MAX 255 /* bytes: RFC 6838 §4.2 allows 127/127 */

#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_OCI_LAYER_GZIP  "application/vnd.oci.image.layer.v1.tar+gzip"
#define MEDIA_OCI_LAYER_ZSTD  "application/vnd.oci.image.layer.v1.tar+zstd"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_CONFIG   "application/vnd.docker.container.image.v1+json"
#define MEDIA_DOCKER_LAYER    "application/vnd.docker.image.rootfs.diff.tar.gzip"

enum media_kind {
    MEDIA_UNKNOWN,
    MEDIA_MANIFEST,
    MEDIA_INDEX, /* or Docker's manifest list */
    MEDIA_CONFIG,
    MEDIA_LAYER,
    MEDIA_FOREIGN_LAYER, /* its bytes are elsewhere and may not be redistributed; not taken */
    MEDIA_SCHEMA1,       /* Docker's manifest of 2014; not taken */
};

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

/* What a media type stands for; parameters (";charset=utf-8") and case do not matter. NULL or "" is unknown.
 */
enum media_kind media_kind(const char *media_type);

/* How a layer of this type is compressed. 0, or OCI_E_UNSUPPORTED with a text that says what the type is
 * instead. */
int media_layer_compression(const char *media_type, enum compression *out, struct err *e);

/* "gzip", "zstd", "none". */
const char *compression_name(enum compression c);

#endif
