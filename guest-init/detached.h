/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detached executions: those that outlive their connection. What clients may ask about them (LIST, ATTACH,
 * REMOVE), and the bounds on what is kept of them (docs/protocol.md sections 5.8 to 5.10).
 */
#ifndef CUBBY_GUEST_INIT_DETACHED_H
#define CUBBY_GUEST_INIT_DETACHED_H

#include "proto/detached.h"
#include "proto/exec.h"

struct agent;
struct exec;
struct session;

/* Of ended executions that nobody is attached to; one more, and the one that ended first is forgotten. */
#define DETACHED_ENDED_MAX 256u
/* Bytes of output kept, all executions together, when the agent's configuration does not say. */
#define DETACHED_KEEP_MAX (64u << 20)

/* Gives x its keeps, forgetting ended executions for their memory if need be. 0 or -ENOMEM. */
int detached_prepare(struct exec *x, const struct exec_request *q);
/* STARTED was sent: the client that started it is its first viewer from now on. */
void detached_started(struct exec *x);
/* Nothing more comes: what is kept takes as little memory as possible. */
void detached_trim(struct exec *x);
/* Forgets the ended executions that are too many. */
void detached_hold_bound(struct agent *a);
/* Gives the keeps' memory back. Safe on any execution. */
void detached_fini(struct exec *x);
/* True when x is to be there although it has ended. */
bool detached_is_kept(const struct exec *x);
/* Of the ended ones without clients that which ended first; NULL when there is none. */
struct exec *detached_oldest(struct agent *a);

/* Requests; each returns 0, or -EPROTO when the frame breaks the protocol. */
int detached_on_list(struct session *s, const struct frame *f);
int detached_on_attach(struct session *s, const struct frame *f);
int detached_on_remove(struct session *s, const struct frame *f);
/* Sends more of the list, as much as the client's socket takes. */
void detached_list_go(struct session *s);

#endif
