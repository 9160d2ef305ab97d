/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections by (guest port, host port): a hash table of nodes that are embedded in their owners. Look-up,
 * insertion and removal are O(1), also for port numbers that a hostile guest chooses. One owner, no lock.
 */
#ifndef CUBBY_VIRTIO_VSOCK_TABLE_H
#define CUBBY_VIRTIO_VSOCK_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct vsock_node {
    struct vsock_node *next; /* in its bucket */
    uint32_t guest_port, host_port;
};

struct vsock_table {
    struct vsock_node **bucket;
    unsigned bits;    /* 2^bits buckets */
    uint64_t seed[4]; /* random, odd where they multiply */
    uint32_t len;
};

/* Makes room for about `capacity` nodes (more only make it slower). 0, or a negative errno. */
int vsock_table_init(struct vsock_table *t, uint32_t capacity);
/* Safe on a zeroed table; the nodes are forgotten. */
void vsock_table_fini(struct vsock_table *t);

/* NULL when there is none. */
struct vsock_node *vsock_table_find(const struct vsock_table *t, uint32_t guest_port, uint32_t host_port);
/* The pair of ports must not be there yet. */
void vsock_table_insert(struct vsock_table *t, struct vsock_node *n);
/* `n` must be there. */
void vsock_table_remove(struct vsock_table *t, struct vsock_node *n);

#endif
