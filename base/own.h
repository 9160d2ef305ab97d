/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership of locals: a descriptor, a heap block or a stdio stream that is released when its scope ends,
 * unless it is handed over with STEAL.
 *
 *     CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
 *     …
 *     out->fd = STEAL_FD(fd);
 */
#ifndef CUBBY_BASE_OWN_H
#define CUBBY_BASE_OWN_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Yields the pointer and forgets it. */
#define STEAL(p)                                                                                             \
    ({                                                                                                       \
        __typeof__(p) steal_value_ = (p);                                                                    \
        (p) = NULL;                                                                                          \
        steal_value_;                                                                                        \
    })

/* Yields the descriptor and forgets it. */
#define STEAL_FD(fd)                                                                                         \
    ({                                                                                                       \
        int steal_fd_ = (fd);                                                                                \
        (fd) = -1;                                                                                           \
        steal_fd_;                                                                                           \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* For CLEANUP: closes *fd unless it is negative. Keeps errno. */
void fd_closep(int *fd);

/* For CLEANUP: frees the block that *p points to; `p` is the address of any object pointer. */
static inline void mem_freep(void *p)
{
    free(*(void **)p);
}

#endif
