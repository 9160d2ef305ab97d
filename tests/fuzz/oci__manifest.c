/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manifest or index from a hostile registry: whatever is refused says why, whatever is accepted is within
 * the limits, a document is never both, and a manifest that is written again is the same.
 */
#include "oci/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_manifest(const struct manifest *m, const struct oci_limits *limits)
{
    char *text;
    size_t len;
    struct manifest again;
    check(m->nlayers <= limits->layers && m->media_type[0] && digest_is_set(&m->config.digest));
    check(manifest_format(m, &text, &len, NULL) == 0);
    check(manifest_parse(&again, text, len, limits, NULL) == 0);
    check(again.nlayers == m->nlayers && manifest_size(&again) == manifest_size(m));
    check(memcmp(again.layer, m->layer, m->nlayers * sizeof(*m->layer)) == 0);
    manifest_fini(&again);
    free(text);
}

static void check_index(const struct image_index *x, const struct oci_limits *limits)
{
    static const char *const wanted[] = {"linux/amd64/v3", "linux/arm/v7", "windows/amd64"};
    check(x->count <= limits->index_entries);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        struct platform p;
        struct err e = {0};
        const struct index_entry *entry = NULL;
        check(platform_parse(&p, wanted[i], NULL) == 0);
        int ret = index_choose(x, &p, &entry, &e);
        check(ret == 0 ? entry >= x->entry && entry < x->entry + x->count : e.code == ret && e.text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_limits limits;
    struct manifest m;
    struct image_index x;
    struct err e[3] = {{0}};
    enum media_kind kind = MEDIA_UNKNOWN;
    oci_limits_init(&limits);
    limits.layers = 20;
    limits.index_entries = 20;
    uint8_t *copy = malloc(size + 1); /* its end is the end of a block: reads beyond it are found */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    int is = manifest_kind(copy, size, NULL, &limits, &kind, &e[0]);
    int as_manifest = manifest_parse(&m, copy, size, &limits, &e[1]);
    int as_index = index_parse(&x, copy, size, &limits, &e[2]);
    check((is == 0) == !e[0].text[0] && (as_manifest == 0) == !e[1].text[0] &&
          (as_index == 0) == !e[2].text[0]);
    check(as_manifest < 0 || as_index < 0);
    if (as_manifest == 0) {
        check(is == 0 && kind == MEDIA_MANIFEST);
        check_manifest(&m, &limits);
        manifest_fini(&m);
    }
    if (as_index == 0) {
        check(is == 0 && kind == MEDIA_INDEX);
        check_index(&x, &limits);
        index_fini(&x);
    }
    free(copy);
    return 0;
}
