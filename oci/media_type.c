/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table of all types that we have something to say about. The refused ones are in it
 * too, so that who meets one reads what it is instead of "unknown".
 */
#include "oci/media_type.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <string.h>
#include <strings.h>

struct known_type {
    const char *name;
    enum media_kind kind;
    enum compression compression; /* of layers */
};

static const struct known_type known[] = {
    {MEDIA_OCI_MANIFEST, MEDIA_MANIFEST, COMPRESSION_NONE},
    {MEDIA_DOCKER_MANIFEST, MEDIA_MANIFEST, COMPRESSION_NONE},
    {MEDIA_OCI_INDEX, MEDIA_INDEX, COMPRESSION_NONE},
    {MEDIA_DOCKER_LIST, MEDIA_INDEX, COMPRESSION_NONE},
    {MEDIA_OCI_CONFIG, MEDIA_CONFIG, COMPRESSION_NONE},
    {MEDIA_DOCKER_CONFIG, MEDIA_CONFIG, COMPRESSION_NONE},
    {MEDIA_OCI_LAYER, MEDIA_LAYER, COMPRESSION_NONE},
    {MEDIA_OCI_LAYER_GZIP, MEDIA_LAYER, COMPRESSION_GZIP},
    {MEDIA_OCI_LAYER_ZSTD, MEDIA_LAYER, COMPRESSION_ZSTD},
    {MEDIA_DOCKER_LAYER, MEDIA_LAYER, COMPRESSION_GZIP},
    {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER, COMPRESSION_NONE},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER, COMPRESSION_ZSTD},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_FOREIGN_LAYER, COMPRESSION_NONE},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_FOREIGN_LAYER, COMPRESSION_GZIP},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_FOREIGN_LAYER, COMPRESSION_NONE},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_FOREIGN_LAYER, COMPRESSION_GZIP},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_FOREIGN_LAYER, COMPRESSION_ZSTD},
    {"application/vnd.docker.distribution.manifest.v1+json", MEDIA_SCHEMA1, COMPRESSION_NONE},
    {"application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1, COMPRESSION_NONE},
};

static const struct known_type *find_type(const char *media_type)
{
    if (!media_type)
        return NULL;
    size_t len = strcspn(media_type, "; \t");
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strlen(known[i].name) == len && strncasecmp(known[i].name, media_type, len) == 0)
            return &known[i];
    }
    return NULL;
}

enum media_kind media_kind(const char *media_type)
{
    const struct known_type *t = find_type(media_type);
    return t ? t->kind : MEDIA_UNKNOWN;
}

int media_layer_compression(const char *media_type, enum compression *out, struct err *e)
{
    const struct known_type *t = find_type(media_type);
    if (t && t->kind == MEDIA_LAYER) {
        *out = t->compression;
        return 0;
    }
    if (t && t->kind == MEDIA_FOREIGN_LAYER)
        return err_set(e, OCI_E_UNSUPPORTED,
                       "'%s' is a foreign layer: its maker does not let registries hand it out", media_type);
    size_t len = strlen(media_type);
    if (len > 10 && strcasecmp(media_type + len - 10, "+encrypted") == 0)
        return err_set(e, OCI_E_UNSUPPORTED, "'%s' is an encrypted layer", media_type);
    return err_set(e, OCI_E_UNSUPPORTED, "'%s' is not the type of a layer that cubby can read", media_type);
}

const char *compression_name(enum compression c)
{
    static const char *const name[] = {
        [COMPRESSION_NONE] = "none", [COMPRESSION_GZIP] = "gzip", [COMPRESSION_ZSTD] = "zstd"};
    return name[c];
}
