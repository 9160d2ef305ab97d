/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the command's file, and saying in plain words why it cannot be run. */
#ifndef CUBBY_GUEST_INIT_LOOKUP_H
#define CUBBY_GUEST_INIT_LOOKUP_H

#include "base/err.h"

#include <limits.h>

#define LOOKUP_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * The file that `command` means: itself when it has a slash, else the first executable regular file of that
 * name in `path` (colon-separated; an empty element is the current folder). Checked as the calling process,
 * after it has become the right user in the right folder.
 *
 * 0 with the name in `out`; -ENOENT when nothing has that name; -EACCES when something has, but it may not be
 * executed (no x bit, a folder); *e says which.
 */
int lookup_command(const char *command, const char *path, char out[PATH_MAX], struct err *e);

/* After execve(file) failed with `errnum` (positive): the reason in *e, as -errnum. */
int lookup_explain(const char *file, int errnum, struct err *e);

#endif
