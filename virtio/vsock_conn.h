/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vsock connection: a stream of the guest joined to a Unix socket of the host.
 *
 *            REQUEST from the guest                     CONNECT of a host client
 *                     │ <path>_<port> dialled                    │ REQUEST owed
 *                  DIALING ───────────┐                       OPENING
 *                     │ connected     │ refused                  │ RESPONSE: "OK"   │ RST, deadline, client
 * gone └─────────► OPEN ◄─────────────────────────┘                  │ the guest's RST, bytes left │  │  │
 * both directions over, or a fault          │ ┌────────────────┘  │  └──────────────────────────────────►
 * DEAD ◄─┘ LINGER                 │ the host is gone, the guest was told    │ RST sent (no port: drains to
 * the host)   └──► CLOSING ─────────────────────────────┘ (or the guest's RST: gone at once)
 *
 * Owner: the mux (vsock_mux.h), under the device's lock, on the loop's thread.
 */
#ifndef CUBBY_VIRTIO_VSOCK_CONN_H
#define CUBBY_VIRTIO_VSOCK_CONN_H

#include "base/loop.h"
#include "base/own.h"
#include "base/ring.h"
#include "virtio/vsock_credit.h"
#include "virtio/vsock_packet.h"
#include "virtio/vsock_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

struct vsock_mux;

/* Payload in guest memory, in pieces: to be read (a packet of the guest) or to be filled (room for one to
 * it). */
struct vsock_pieces {
    const struct iovec *iov;
    int count;
    uint32_t len; /* bytes in all */
};

enum vsock_state {
    VSOCK_DIALING, /* the host's listener has a full backlog: tried again by the timer */
    VSOCK_OPENING, /* REQUEST owed or sent; no RESPONSE yet */
    VSOCK_OPEN,
    VSOCK_CLOSING, /* SHUTDOWN in both directions sent, the guest's RST is to come */
    VSOCK_LINGER,  /* the guest knows nothing of it any more; what it sent is drained to the host */
    VSOCK_DEAD,    /* RST owed to the guest; nothing else is left. Also for packets of unknown connections */
};

struct vsock_conn {
    struct vsock_node node; /* in the mux's table, but for LINGER; first member */
    struct vsock_mux *mux;
    enum vsock_state state;
    uint16_t type; /* VIRTIO_VSOCK_TYPE_STREAM, or what a refused packet said: its RST must say the same */
    TAILQ_ENTRY(vsock_conn) all;
    TAILQ_ENTRY(vsock_conn) ready; /* linked while `queued` */
    bool queued;                   /* has something for the guest */

    uint32_t owed;       /* bit 1 << VIRTIO_VSOCK_OP_*: packets owed to the guest */
    uint32_t guest_shut; /* VIRTIO_VSOCK_SHUTDOWN_* flags that the guest has sent, accumulated */
    uint32_t told_shut;  /* those that we have sent */

    int fd;                    /* host socket, owned; -1 in DIALING and DEAD */
    struct loop_source source; /* on fd; removed when the peer hung up, because epoll never mutes EPOLLHUP */
    bool readable;             /* fd has bytes or its end for us, as far as we know */
    bool muted;     /* EPOLLIN came although we knew: not asked for until `readable` is dealt with */
    bool hung_up;   /* the host's end is closed in both directions */
    bool in_ended;  /* nothing more is read from fd */
    bool out_ended; /* nothing more is written to fd */

    struct vsock_credit credit;
    struct ring to_host; /* VSOCK_BUF_ALLOC bytes, there only while the host does not keep up */
    struct loop_timer timer;
    bool asking;       /* OPEN: the timer is for the next question for credit, not a deadline */
    uint32_t timer_ms; /* DIALING: time left; OPEN: delay of the next question for credit */
};

/* A connection that a host client asked for; takes `fd` (non-blocking) over, also on failure (then it is
 * closed). Uses up a slot of the mux. 0, or a negative errno. */
int vsock_conn_open(struct vsock_mux *m, int fd, uint32_t guest_port, uint32_t host_port);
/* A connection that the guest asks for by `h`; its end may be immediate (RST owed). -ENOMEM, or 0. */
int vsock_conn_accept(struct vsock_mux *m, const struct vsock_header *h);
/* Only an RST owed, in answer to `h`. -ENOMEM, or 0. */
int vsock_conn_refuse(struct vsock_mux *m, const struct vsock_header *h);

/* A packet of the guest for this connection; data->len is h->len. May free `c`. */
void vsock_conn_input(struct vsock_conn *c, const struct vsock_header *h, const struct vsock_pieces *data);

/*
 * Makes the next packet for the guest, if there is one: op, flags, len and credit of *h, and the payload in
 * `room` (at least a byte of it). True when a packet was made. The connection must not be queued; it queues
 * itself again when it has more. May free `c`.
 */
bool vsock_conn_output(struct vsock_conn *c, struct vsock_header *h, const struct vsock_pieces *room);

/* The driver was reset: as if it had sent RST to all. A client whose REQUEST was not sent yet stays. May free
 * `c`. */
void vsock_conn_forget(struct vsock_conn *c);
/* Will vsock_conn_forget() leave it as it is? */
bool vsock_conn_stays(const struct vsock_conn *c);
/* Ends it for both sides, with an RST if the guest knows of it. May free `c`. */
void vsock_conn_abort(struct vsock_conn *c);
/* Ends it without a word to the guest. */
void vsock_conn_free(struct vsock_conn *c);

#endif
