/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: tools/arch/<name>/lazy-stubs gives the list of each library's functions a name. Where
 * the linker was given the library itself (sanitizers' builds, tests of a layer) there are no stubs, and the
 * weak name is NULL: the dynamic linker has loaded it long ago.
 */
#include "runtime/libraries.h"

#include "base/lazy.h"
#include "base/own.h"
#include "runtime/errors.h"

extern const struct lazy_library lazy_curl __attribute__((weak)), lazy_archive __attribute__((weak));

int libraries_load(struct cubby_error *error)
{
    const struct lazy_library *const all[] = {&lazy_curl, &lazy_archive};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct err e;
        if (all[i] && lazy_load(all[i], &e) < 0)
            return fail_err(error, CUBBY_ECONFIG, &e);
    }
    return 0;
}
