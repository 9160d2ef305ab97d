/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: whoever calls box_process() takes an event for all: when the others wake, waiter's
 * descriptor is quiet again. What matters to them is therefore kept, as descriptors that stay readable until
 * those whom it concerns have seen it:
 *
 *  - the caller's event loop, by public_fd: waiter's descriptor, and news_fd, which each change of the state
 *    makes readable and cubby_box_state() quiet;
 *  - executions that wait for the boot, by boot_fd: made when the first of them asks, readable for good once
 *    the boot is over. Each has a copy, so it learns how its own boot went when the box has long begun
 *    another.
 *
 * The end needs no more: waiter_finish() lasts until the next start, and whoever has a connection by then
 * learns from it that the VM is gone. Who waits in a call is woken by waiter_announce().
 */
#include "base/own.h"
#include "runtime/box.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int make_readable(int fd)
{
    const uint64_t one = 1;
    return write(fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

int box_news_init(struct cubby_box *box, struct err *e)
{
    struct epoll_event in = {.events = EPOLLIN};
    box->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    box->public_fd = epoll_create1(EPOLL_CLOEXEC);
    if (box->news_fd < 0 || box->public_fd < 0 ||
        epoll_ctl(box->public_fd, EPOLL_CTL_ADD, box->waiter.epoll_fd, &in) < 0 ||
        epoll_ctl(box->public_fd, EPOLL_CTL_ADD, box->news_fd, &in) < 0)
        return err_sys(e, "cannot create descriptors to watch a box by");
    return 0;
}

void box_news_fini(struct cubby_box *box)
{
    fd_closep(&box->public_fd);
    fd_closep(&box->news_fd);
    fd_closep(&box->boot_fd);
}

void box_enter(struct cubby_box *box, enum cubby_state state)
{
    box->state = state;
    make_readable(box->news_fd); /* of a counter that is far from its end */
    if (box->boot_fd >= 0)
        make_readable(box->boot_fd);
    fd_closep(&box->boot_fd);
}

void box_news_told(struct cubby_box *box)
{
    uint64_t count;
    ssize_t ignored = read(box->news_fd, &count, sizeof(count));
    (void)ignored; /* nothing to read: there was no news */
}

int box_watch_boot(struct cubby_box *box, unsigned life, int *fd)
{
    int ret = 0;
    *fd = -1;
    waiter_lock(&box->waiter);
    if (box->state == CUBBY_STARTING && box->life == life) {
        if (box->boot_fd < 0)
            box->boot_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        *fd = box->boot_fd < 0 ? -1 : fcntl(box->boot_fd, F_DUPFD_CLOEXEC, 0);
        ret = *fd < 0 ? -errno : 0;
    }
    waiter_unlock(&box->waiter);
    return ret;
}
