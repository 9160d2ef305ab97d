/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: dlopen(3) counts, so loading is the same whoever comes first, and a slot is written
 * with the same address however often: no lock is needed. The library stays loaded until the program ends.
 */
#include "base/lazy.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void *find(const struct lazy_library *lib, size_t index)
{
    void *library = dlopen(lib->soname, RTLD_NOW);
    void *address = library ? dlsym(library, lib->names[index]) : NULL;
    /* Read by the stub in one load; what it points to was complete when dlopen() returned. */
    if (address)
        __atomic_store_n(&lib->slots[index], address, __ATOMIC_RELEASE);
    return address;
}

void *lazy_resolve(const struct lazy_library *lib, size_t index)
{
    void *address = find(lib, index);
    if (!address) {
        const char *why = dlerror();
        fprintf(stderr, "cubby: %s\n", why ? why : lib->names[index]);
        abort();
    }
    return address;
}

int lazy_load(const struct lazy_library *lib, struct err *e)
{
    for (size_t i = 0; i < lib->count; i++) {
        if (__atomic_load_n(&lib->slots[i], __ATOMIC_RELAXED) || find(lib, i))
            continue;
        const char *why = dlerror();
        return err_set(e, -ENOENT, "cannot load the library %s: %s; install it", lib->soname,
                       why ? why : lib->names[i]);
    }
    return 0;
}
