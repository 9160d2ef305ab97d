/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files are that every box needs: cubby-vmm, the guest's kernel, its initrd, the default image. */
#ifndef CUBBY_RUNTIME_ASSETS_H
#define CUBBY_RUNTIME_ASSETS_H

#include "base/err.h"

#include <limits.h>
#include <stddef.h>

enum asset {
    ASSET_VMM,
    ASSET_KERNEL,
    ASSET_INITRD,
    ASSET_ROOTFS,
    ASSETS,
};

/* "cubby-vmm", "vmlinux"… */
const char *asset_file(enum asset a);

/*
 * Finds one of them. Folders are looked through in this order, the first that is given decides: `folders`
 * (an option of the caller), $CUBBY_ASSETS (both may be several, with ':' between), else the folder of the
 * file that libcubby was loaded from (the program itself, when it is linked in), "cubby" in that folder, the
 * folder of the running program, and <libdir>/cubby. 0 with the path in `out`; -ENOENT with a text that says
 * which file is missing, where it was looked for, and what to do.
 */
int asset_find(enum asset a, const char *folders, char out[PATH_MAX], struct err *e);

/*
 * Checks that `path`, called `what` in the text ("kernel"), is a regular file with bytes in it that can be
 * read: 0; -ENOENT, -EISDIR, -EACCES, -EINVAL (empty, or another kind of file), ….
 */
int file_check(const char *what, const char *path, struct err *e);

#endif
