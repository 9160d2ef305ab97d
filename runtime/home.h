/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cubby's home: where it keeps what is large or lasts longer than a box.
 *
 *     $CUBBY_HOME, else $XDG_DATA_HOME/cubby, else ~/.local/share/cubby
 *         boxes/     the disks of boxes
 *         images/    the image store (oci/store.h)
 */
#ifndef CUBBY_RUNTIME_HOME_H
#define CUBBY_RUNTIME_HOME_H

#include "base/err.h"

#include <limits.h>

/* The path of `name` in the home, or of the home itself for "". -EINVAL when a variable is no absolute path
 * or none says where, -ENAMETOOLONG. */
int home_path(const char *name, char out[PATH_MAX], struct err *e);

/* The same, and makes the folder with its parents, closed to others, if it is not there. */
int home_folder(const char *name, char out[PATH_MAX], struct err *e);

#endif
