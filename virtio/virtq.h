/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues (virtio 1.2 §2.7), device side. The only code that walks descriptor chains and the only
 * one with memory barriers against the driver.
 */
#ifndef CUBBY_VIRTIO_VIRTQ_H
#define CUBBY_VIRTIO_VIRTQ_H

#include "base/gmem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIRTQ_SIZE_MAX 256 /* descriptors; also the bound of a chain */

struct virtq {
    uint16_t size; /* set by the driver, a power of two ≤ its maximum */
    bool ready;
    gpa_t desc_gpa, driver_gpa, device_gpa; /* descriptor table, available ring, used ring */
    /* Valid while ready: */
    const struct gmem *mem;
    void *desc, *avail, *used;
    uint16_t next_avail; /* next entry of the available ring to look at */
    uint16_t next_used;  /* next entry of the used ring to fill */
    uint16_t signalled;  /* next_used at the last interrupt decision */
    bool signalled_valid;
    bool event_idx;
};

/* One chain, taken apart: first what the device may read, then what it may write. The pointers lie in guest
 * memory whose content the guest may change at any time. */
struct virtq_chain {
    uint16_t head;
    uint16_t nout, nin;               /* pieces to read, pieces to write */
    uint64_t out_len, in_len;         /* bytes in all */
    struct iovec iov[VIRTQ_SIZE_MAX]; /* out pieces, then in pieces */
};

/* Checks size, alignment and place of the three areas and makes the queue usable. 0, or -EINVAL/-EFAULT. */
int virtq_enable(struct virtq *q, const struct gmem *mem, uint16_t size_max, bool event_idx);
void virtq_reset(struct virtq *q);

/* Takes the next chain: 1, or 0 when there is none, or a negative errno for a guest's fault (bad index, loop,
 * address outside memory, too long): then the queue must not be used until it is reset. */
int virtq_pop(struct virtq *q, struct virtq_chain *c);
/* Puts the chain that was popped last back, as if it had not been popped. */
void virtq_undo_pop(struct virtq *q);
/* Gives a chain back with `written` bytes filled in (at most its in_len). */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* After a batch of pushes: does the driver want an interrupt? */
bool virtq_wants_interrupt(struct virtq *q);
/* Asks for a kick when more comes (or asks to be left alone). Enabling returns true when work is there
 * already, so that none is missed: look again. */
bool virtq_enable_kicks(struct virtq *q);
void virtq_disable_kicks(struct virtq *q);

/* Copies between a chain's pieces and a flat buffer, from byte `offset` of the out (or in) part; returns
 * bytes copied, less than `len` only at the end of the chain. */
uint64_t virtq_read_out(const struct virtq_chain *c, uint64_t offset, void *to, uint64_t len);
uint64_t virtq_write_in(const struct virtq_chain *c, uint64_t offset, const void *from, uint64_t len);

/* For readv(2) and its like: the bytes [offset, offset + max) of the out (or in) part, as far as they exist,
 * as pieces of their own in `iov`, which has room for VIRTQ_SIZE_MAX; returns how many pieces. */
int virtq_slice_out(const struct virtq_chain *c, uint64_t offset, uint64_t max, struct iovec *iov);
int virtq_slice_in(const struct virtq_chain *c, uint64_t offset, uint64_t max, struct iovec *iov);

#endif
