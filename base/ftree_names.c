/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: all names of a folder at once, sorted, so that two reads of one tree are the same. */
#include "base/ftree_parts.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct ftree_names *n, const char *name)
{
    if ((n->count & (n->count - 1)) == 0) { /* 0 or a power of two: full */
        char **bigger = realloc(n->list, (n->count ? 2 * n->count : 1) * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        n->list = bigger;
    }
    n->list[n->count] = strdup(name);
    return n->list[n->count++] ? 0 : -ENOMEM;
}

int ftree_names_read(struct ftree_names *n, int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        int code = -errno;
        fd_closep(&copy);
        return code;
    }
    int ret = 0;
    struct dirent *entry;
    while (ret == 0 && (errno = 0, entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ret = add_name(n, entry->d_name);
    if (ret == 0)
        ret = -errno;
    closedir(d);
    if (ret == 0 && n->count) /* else the last may be NULL */
        qsort(n->list, n->count, sizeof(*n->list), by_name);
    return ret;
}

void ftree_names_fini(struct ftree_names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->list[i]);
    free(n->list);
    *n = (struct ftree_names){0};
}
