/* SPDX-License-Identifier: Apache-2.0 */
/* Option structs that start with their size, so that callers built with an older or newer header work. */
#ifndef CUBBY_RUNTIME_OPTIONS_H
#define CUBBY_RUNTIME_OPTIONS_H

#include "cubby.h"

#include <stddef.h>

/*
 * Copies the caller's struct `from` (NULL: all defaults) to `to`, which has `ours` bytes; what the caller's
 * header did not know becomes zero. `least` is the size of the struct in its first release. CUBBY_EARGUMENT
 * when the size is smaller than that, or when a newer caller has set something that this library does not
 * know.
 */
int options_copy(void *to, size_t ours, size_t least, const void *from, struct cubby_error *error);

/*
 * The other way round: copies our struct `from` of `ours` bytes to the caller's `to` (NULL: not wanted),
 * whose first member says how much of it the caller's header knows. 0, or CUBBY_EARGUMENT when that is no
 * size.
 */
int options_return(void *to, const void *from, size_t ours, struct cubby_error *error);

/* The check of options_return(), for calls that do something first. */
int options_check_return(const void *to, struct cubby_error *error);

#endif
