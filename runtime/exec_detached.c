/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: whatever is asked about a detached execution is a connection like that of an
 * execution, with another request in front. An attached handle then is an execution in every respect; a list
 * and a removal are waited for, and their connection is gone with the answer.
 */
#include "base/own.h"
#include "runtime/errors.h"
#include "runtime/exec.h"
#include "runtime/options.h"

#include <stdlib.h>
#include <string.h>

uint64_t cubby_exec_id(struct cubby_exec *x)
{
    if (!x)
        return 0;
    waiter_lock(&x->waiter);
    exec_process(x);
    uint64_t id = x->started ? x->id : 0;
    waiter_unlock(&x->waiter);
    return id;
}

uint64_t cubby_exec_lost(struct cubby_exec *x, int stream)
{
    if (!x || (stream != CUBBY_STDOUT && stream != CUBBY_STDERR))
        return 0;
    waiter_lock(&x->waiter);
    uint64_t lost = x->output[stream == CUBBY_STDERR].lost;
    waiter_unlock(&x->waiter);
    return lost;
}

int cubby_exec_attach(struct cubby_exec **out, struct cubby_box *box, uint64_t id,
                      const struct cubby_attach_options *options, struct cubby_error *error)
{
    struct cubby_attach_options o;
    if (out)
        *out = NULL;
    if (!out || !box)
        return fail(error, CUBBY_EARGUMENT, "cubby_exec_attach: an argument is NULL");
    int ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret < 0)
        return ret;
    struct cubby_exec *x = NULL;
    ret = exec_new(&x, EXEC_ATTACH, box, error);
    if (ret == 0)
        ret = exec_prepare_attach(x, id, &o, error);
    if (ret == 0)
        ret = exec_launch(x, box, error);
    if (ret < 0)
        cubby_exec_free(x);
    else
        *out = x;
    return ret;
}

/* Sends the request that x was prepared with and waits for the answer. */
static int ask(struct cubby_exec *x, struct cubby_box *box, int timeout_ms, struct cubby_result *result,
               struct cubby_error *error)
{
    int ret = exec_launch(x, box, error);
    if (ret == 0)
        ret = cubby_exec_wait(x, timeout_ms, result, error);
    if (ret == CUBBY_ETIMEOUT)
        fail(error, ret, "the guest's agent has not answered after %d ms", timeout_ms);
    return ret;
}

int cubby_exec_remove(struct cubby_box *box, uint64_t id, int kill, int timeout_ms,
                      struct cubby_result *result, struct cubby_error *error)
{
    struct cubby_exec *x = NULL;
    if (!box)
        return fail(error, CUBBY_EARGUMENT, "cubby_exec_remove: box is NULL");
    int ret = exec_check_result(result, error); /* not when it is gone already */
    if (ret == 0)
        ret = exec_new(&x, EXEC_REMOVE, box, error);
    if (ret == 0)
        ret = exec_prepare_remove(x, id, kill, error);
    if (ret == 0)
        ret = ask(x, box, timeout_ms, result, error);
    cubby_exec_free(x);
    return ret;
}

/* ---- the list
 * --------------------------------------------------------------------------------------------*/

struct cubby_exec_list {
    struct msg_item *items;
    size_t count;
};

int cubby_exec_list(struct cubby_exec_list **out, struct cubby_box *box, int timeout_ms,
                    struct cubby_error *error)
{
    if (out)
        *out = NULL;
    if (!out || !box)
        return fail(error, CUBBY_EARGUMENT, "cubby_exec_list: an argument is NULL");
    struct cubby_exec *x = NULL;
    struct cubby_exec_list *list = calloc(1, sizeof(*list));
    if (!list)
        return fail(error, CUBBY_ERESOURCE, "no memory for a list of executions");
    int ret = exec_new(&x, EXEC_LIST, box, error);
    if (ret == 0)
        ret = exec_prepare_list(x, error);
    if (ret == 0)
        ret = ask(x, box, timeout_ms, NULL, error);
    if (ret == 0) {
        list->items = STEAL(x->items);
        list->count = x->item_count;
        *out = STEAL(list);
    }
    cubby_exec_free(x);
    cubby_exec_list_free(list);
    return ret;
}

size_t cubby_exec_list_count(const struct cubby_exec_list *list)
{
    return list ? list->count : 0;
}

static unsigned info_flags(uint32_t flags)
{
    unsigned ours = 0;
    if (flags & ITEM_DETACHED)
        ours |= CUBBY_INFO_DETACHED;
    if (flags & ITEM_TTY)
        ours |= CUBBY_INFO_TTY;
    if (flags & ITEM_STDIN)
        ours |= CUBBY_INFO_STDIN;
    if (flags & ITEM_STDIN_HELD)
        ours |= CUBBY_INFO_STDIN_HELD;
    return ours;
}

int cubby_exec_list_get(const struct cubby_exec_list *list, size_t index, struct cubby_exec_info *info)
{
    if (!info || info->size < sizeof(info->size) || info->size > 65536 ||
        index >= cubby_exec_list_count(list))
        return CUBBY_EARGUMENT;
    const struct msg_item *m = &list->items[index];
    size_t size = info->size;
    struct cubby_exec_info ours = {.size = size,
                                   .id = m->exec_id,
                                   .age_ns = m->age_ns,
                                   .pid = (pid_t)m->pid,
                                   .ended = m->state == ITEM_ENDED,
                                   .flags = info_flags(m->flags)};
    if (ours.ended)
        ours.result = exec_result_of(&m->result);
    ours.result.size = sizeof(ours.result);
    _Static_assert(sizeof(m->command) <= sizeof(ours.command), "a command fits");
    memcpy(ours.command, m->command, sizeof(m->command));
    text_make_printable(ours.command, 0);
    memset(info, 0, size);
    memcpy(info, &ours, size < sizeof(ours) ? size : sizeof(ours));
    return 0;
}

void cubby_exec_list_free(struct cubby_exec_list *list)
{
    if (!list)
        return;
    free(list->items);
    free(list);
}
