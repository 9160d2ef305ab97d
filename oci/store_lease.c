/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a lease is a file with a line per digest, locked by its owner for as long as it lives.
 * It is made, and it grows, under the store's shared lock; gc holds the exclusive one. So gc sees a digest in
 * the lease, or it is done before the owner looks whether the object is there. A lease that can be locked by
 * another has lost its owner.
 *
 * The file only grows, so a digest that is in it once is there to stay: who asks for a blob again and again,
 * while another downloads it, does not write.
 */
#include "oci/store_internal.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

int store_lease_begin(struct store *s, struct store_lease **out, struct err *e)
{
    CLEANUP(mem_freep) struct store_lease *l = calloc(1, sizeof(*l));
    if (!l)
        return err_set(e, -ENOMEM, "no memory for a lease");
    CLEANUP(fd_closep) int lock = store_lock(s, LOCK_SH, e);
    if (lock < 0)
        return lock;
    l->store = s;
    store_random_name(l->name, "");
    CLEANUP(fd_closep)
    int fd = openat(s->dir[DIR_LEASES], l->name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return store_sys(s, "create", DIR_LEASES, l->name, e);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int ret = store_sys(s, "lock", DIR_LEASES, l->name, e);
        unlinkat(s->dir[DIR_LEASES], l->name, 0);
        return ret;
    }
    l->fd = STEAL_FD(fd);
    pthread_mutex_init(&l->lock, NULL);
    *out = STEAL(l);
    return 0;
}

void store_lease_end(struct store_lease *l)
{
    if (!l)
        return;
    unlinkat(l->store->dir[DIR_LEASES], l->name, 0);
    close(l->fd);
    pthread_mutex_destroy(&l->lock);
    tdestroy(l->noted, free);
    free(l);
}

static int by_digest(const void *a, const void *b)
{
    const struct digest *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static bool is_noted(struct store_lease *l, const struct digest *d)
{
    pthread_mutex_lock(&l->lock);
    bool noted = tfind(d, &l->noted, by_digest);
    pthread_mutex_unlock(&l->lock);
    return noted;
}

/* Without memory it is written again the next time, which is no harm. */
static void note(struct store_lease *l, const struct digest *d)
{
    struct digest *copy = malloc(sizeof(*copy));
    if (!copy)
        return;
    *copy = *d;
    pthread_mutex_lock(&l->lock);
    struct digest **found = tsearch(copy, &l->noted, by_digest);
    pthread_mutex_unlock(&l->lock);
    if (!found || *found != copy)
        free(copy);
}

int store_lease_add(struct store_lease *l, const struct digest *d, struct err *e)
{
    char line[STORE_NAME_MAX];
    if (is_noted(l, d))
        return 0;
    /* The line feed is in front: what a full disk cut off does not spoil the next line. */
    int len = snprintf(line, sizeof(line), "\n%s", digest_hex(d));
    CLEANUP(fd_closep) int lock = store_lock(l->store, LOCK_SH, e);
    if (lock < 0)
        return lock;
    ssize_t n = write(l->fd, line, (size_t)len);
    if (n >= 0 && n < len)
        errno = ENOSPC;
    if (n != len)
        return store_sys(l->store, "write", DIR_LEASES, l->name, e);
    note(l, d);
    return 0;
}
