/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: dlopen(3) counts, so loading is the same whoever comes first, and a slot is written
 * with the same address however often: no lock is needed. The library stays loaded until the program ends.
 */
#include "base/lazy.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

void *lazy_resolve(const struct lazy_library *lib, size_t index)
{
    void *library = dlopen(lib->soname, RTLD_NOW);
    void *address = library ? dlsym(library, lib->names[index]) : NULL;
    if (!address) {
        const char *why = dlerror();
        fprintf(stderr, "cubby: %s\n", why ? why : lib->names[index]);
        abort();
    }
    /* Read by the stub in one load; what it points to was complete when dlopen() returned. */
    __atomic_store_n(&lib->slots[index], address, __ATOMIC_RELEASE);
    return address;
}
