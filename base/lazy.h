/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared libraries that are loaded at the first call into them. A program that names libcurl pays for 38 more
 * libraries at each start, some milliseconds, also when it has nothing to pull; so the program is linked with
 * stubs of the functions that it uses, which tools/arch/<name>/lazy-stubs makes. A stub jumps through its
 * slot; the first time it asks here.
 */
#ifndef CUBBY_BASE_LAZY_H
#define CUBBY_BASE_LAZY_H

#include "base/err.h"

#include <stddef.h>

/* The layout is known to the generated code. */
struct lazy_library {
    const char *soname;       /* "libcurl.so.4" */
    const char *const *names; /* of its functions that are used */
    void **slots;             /* their addresses; NULL until they are known */
    size_t count;
};

/*
 * Loads the library and returns the address of function `index`, which goes into its slot. Any thread. A
 * library that is not there ends the program with a line on stderr, as the dynamic linker would have ended it
 * at its start.
 */
void *lazy_resolve(const struct lazy_library *lib, size_t index);

/* Loads the library and finds its functions, all of them. 0, or -ENOENT with what is missing. Any thread. */
int lazy_load(const struct lazy_library *lib, struct err *e);

#endif
