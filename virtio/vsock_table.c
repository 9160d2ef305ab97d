/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: chained buckets, as many as connections are allowed, so chains are short. The guest
 * chooses the ports and could choose ones that all fall into one bucket if it knew the hash function: so the
 * function is drawn at random for each table (multiply, add, mix, keep the high bits).
 */
#include "virtio/vsock_table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

int vsock_table_init(struct vsock_table *t, uint32_t capacity)
{
    *t = (struct vsock_table){.bits = 4};
    while (t->bits < 20 && (UINT32_C(1) << t->bits) < capacity)
        t->bits++;
    ssize_t got;
    do
        got = getrandom(t->seed, sizeof(t->seed), 0);
    while (got < 0 && errno == EINTR);
    if (got != sizeof(t->seed))
        return got < 0 ? -errno : -EIO;
    t->seed[0] |= 1;
    t->seed[1] |= 1;
    t->seed[3] |= 1;
    t->bucket = calloc(UINT32_C(1) << t->bits, sizeof(struct vsock_node *));
    return t->bucket ? 0 : -ENOMEM;
}

void vsock_table_fini(struct vsock_table *t)
{
    free(t->bucket);
    *t = (struct vsock_table){0};
}

static struct vsock_node **bucket_of(const struct vsock_table *t, uint32_t guest_port, uint32_t host_port)
{
    uint64_t h = t->seed[0] * guest_port + t->seed[1] * host_port + t->seed[2];
    /* Ports in regular steps would land in regular steps: fold the high half in and mix once more. */
    h ^= h >> 32;
    h *= t->seed[3];
    return &t->bucket[h >> (64 - t->bits)];
}

struct vsock_node *vsock_table_find(const struct vsock_table *t, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_node *n = *bucket_of(t, guest_port, host_port);
    while (n && (n->guest_port != guest_port || n->host_port != host_port))
        n = n->next;
    return n;
}

void vsock_table_insert(struct vsock_table *t, struct vsock_node *n)
{
    struct vsock_node **b = bucket_of(t, n->guest_port, n->host_port);
    n->next = *b;
    *b = n;
    t->len++;
}

void vsock_table_remove(struct vsock_table *t, struct vsock_node *n)
{
    struct vsock_node **p = bucket_of(t, n->guest_port, n->host_port);
    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    n->next = NULL;
    t->len--;
}
