/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors in JSON (OCI image-spec descriptor.md), for who reads or writes documents that hold them. */
#ifndef CUBBY_OCI_DESCRIPTOR_H
#define CUBBY_OCI_DESCRIPTOR_H

#include "oci/json.h"
#include "oci/manifest.h"

/* Reads the descriptor `value`, which `path` names. OCI_E_LIMIT when its size is beyond `max_size`, the limit
 * that `limit` names. */
int descriptor_parse(struct descriptor *d, const json_t *value, const char *path, uint64_t max_size,
                     const char *limit, struct err *e);
/* NULL without memory. The caller owns the result. */
json_t *descriptor_format(const struct descriptor *d);

/* The members of a "platform" object, or of a configuration, which says the same at its top. */
int platform_from_json(struct platform *p, const json_t *object, const char *path, struct err *e);

#endif
