/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as a layer: a pax tar that is the same whenever the folder is the same. */
#ifndef CUBBY_OCI_TAR_FOLDER_H
#define CUBBY_OCI_TAR_FOLDER_H

#include "base/err.h"

#include <stddef.h>

/* Takes the next bytes; a negative value ends it, the text is in *e. */
typedef int tar_sink_fn(void *context, const void *data, size_t len, struct err *e);

/*
 * Writes the tree below the open folder `dir`: names in order, types, modes, owners (root's when the caller
 * is not root), times, symbolic and hard links, devices, extended attributes, holes. Sockets, and lost+found
 * at the top, are left out. The tree must not change meanwhile.
 *
 * 0, or a negative errno that names the object, or what `sink` returned.
 */
int tar_write_folder(int dir, tar_sink_fn *sink, void *context, struct err *e);

#endif
