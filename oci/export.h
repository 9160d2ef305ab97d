/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images out of the store, as one tar that is an OCI image layout and carries the manifest.json of
 * `docker save` as well: `docker load`, `podman load`, `skopeo copy oci-archive:` and `docker-archive:` take
 * it, and so does oci/source.h.
 */
#ifndef CUBBY_OCI_EXPORT_H
#define CUBBY_OCI_EXPORT_H

#include "base/err.h"
#include "oci/store.h"

#include <stddef.h>

/*
 * Writes the `count` images to `fd`, a file or a pipe. The same images give the same bytes. Every blob is
 * checked on its way: OCI_E_DIGEST when the disk has damaged one. `cancel_fd` as ever; -EPIPE when the reader
 * goes (SIGPIPE is the caller's to ignore). After a failure, what was written is of no use.
 */
int store_export(struct store *s, const struct image_ref *refs, size_t count, int fd, int cancel_fd,
                 struct err *e);

#endif
