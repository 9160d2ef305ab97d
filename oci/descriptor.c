/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: three members, each copied once and checked; what else a descriptor may have (urls,
 * embedded data, annotations) is not ours to follow. */
#include "oci/descriptor.h"

#include "oci/oci_error.h"

#include <string.h>

int descriptor_parse(struct descriptor *d, const json_t *value, const char *path, uint64_t max_size,
                     const char *limit, struct err *e)
{
    const char *type = NULL, *digest = NULL;
    uint64_t size = 0;
    if (!json_is_object(value))
        return err_set(e, OCI_E_FORMAT, "%s is not an object", path);
    int ret = json_need_string(value, path, "mediaType", &type, e);
    if (ret == 0)
        ret = json_need_string(value, path, "digest", &digest, e);
    if (ret == 0)
        ret = json_need_size(value, path, "size", &size, e);
    if (ret < 0)
        return ret;
    if (!*type || strlen(type) > MEDIA_TYPE_MAX)
        return err_set(e, OCI_E_FORMAT, "%s.mediaType has %zu bytes: 1 to %d are possible", path,
                       strlen(type), MEDIA_TYPE_MAX);
    if (size > max_size)
        return err_set(e, OCI_E_LIMIT, "%s.size is %llu, more than %llu (limit %s)", path,
                       (unsigned long long)size, (unsigned long long)max_size, limit);
    ret = digest_parse(&d->digest, digest, e);
    if (ret < 0) {
        err_prefix(e, "%s.digest", path);
        return ret;
    }
    memset(d->media_type, 0, sizeof(d->media_type));
    strcpy(d->media_type, type);
    d->size = size;
    return 0;
}

json_t *descriptor_format(const struct descriptor *d)
{
    return json_pack("{s:s, s:s, s:I}", "mediaType", d->media_type, "digest", d->digest.text, "size",
                     (json_int_t)d->size);
}

int platform_from_json(struct platform *p, const json_t *object, const char *path, struct err *e)
{
    const char *os = NULL, *arch = NULL, *variant = NULL, *os_version = NULL;
    int ret = json_get_string(object, path, "os", &os, e);
    if (ret == 0)
        ret = json_get_string(object, path, "architecture", &arch, e);
    if (ret == 0)
        ret = json_get_string(object, path, "variant", &variant, e);
    if (ret == 0)
        ret = json_get_string(object, path, "os.version", &os_version, e);
    if (ret < 0)
        return ret;
    ret = platform_set(p, os, arch, variant, os_version, e);
    if (ret < 0 && *path)
        err_prefix(e, "%s", path);
    return ret;
}
