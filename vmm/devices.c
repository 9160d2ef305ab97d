/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: devices_init() is the list, read from top to bottom: console, vsock, disks. Each
 * device gets the next slot: a window on the bus for its registers, an eventfd that KVM turns into an
 * interrupt, and for each queue an eventfd that KVM writes when the driver kicks (KVM_IOEVENTFD), so that
 * neither direction leaves the kernel.
 */
#include "vmm/devices.h"
#include "base/io.h"
#include "base/own.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/vsock.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* Non-blocking: a FIFO that nobody reads is an error (ENXIO), not a VMM that hangs. */
#define CONSOLE_OPEN (O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static void on_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    vmmio_read(owner, (uint32_t)offset, data, len);
}

static void on_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    vmmio_write(owner, (uint32_t)offset, data, len);
}

static const struct bus_ops vmmio_ops = {.read = on_read, .write = on_write};

unsigned devices_wanted(const struct vm_config *c)
{
    return 1 + (c->vsock_path ? 1u : 0u) + c->ndisks;
}

/* Joins `vdev`, which is taken over, to the next slot. */
static int plug(struct vm *vm, const char *name, struct vdev *vdev, struct err *e)
{
    unsigned slot = vm->devices.count;
    struct device *d = &vm->devices.device[slot];
    *d = (struct device){.vdev = vdev, .gpa = machine_slot_gpa(slot)};
    snprintf(d->name, sizeof(d->name), "%s", name);
    int r = vmmio_create(&d->mmio, vdev, machine_slot_irq_fd(vm->machine, slot), e);
    if (r)
        return r;
    vm->devices.count++;
    r = bus_add(&vm->mmio, d->gpa, VMMIO_WINDOW, d->name, &vmmio_ops, d->mmio);
    if (r)
        return err_set(e, r, "no place on the bus for %s: %s", name, strerror(-r));
    for (unsigned q = 0; q < vmmio_queues(d->mmio); q++) {
        r = kvm_ioeventfd(vm->fd, vmmio_kick_fd(d->mmio, q), d->gpa + VMMIO_QUEUE_NOTIFY, q, true);
        if (r)
            return err_set(e, r, "cannot attach queue %u of %s (KVM_IOEVENTFD): %s", q, name, strerror(-r));
    }
    return 0;
}

/* Files of the further ports: "<console>.1" and "<console>.2". */
static int open_extra_ports(const struct vm_config *c, struct console_config *cc, int fds[], struct err *e)
{
    for (unsigned i = 1; i < c->console_ports; i++) {
        if (!c->console || strcmp(c->console, "-") == 0)
            continue;
        char path[4096];
        if ((size_t)snprintf(path, sizeof(path), "%s.%u", c->console, i) >= sizeof(path))
            return err_set(e, -ENAMETOOLONG, "the console's path '%s' is too long", c->console);
        fds[i] = open(path, CONSOLE_OPEN, 0600);
        if (fds[i] < 0)
            return err_sys(e, "cannot open '%s' for console port %u", path, i);
        cc->port[i].out_fd = fds[i];
    }
    return 0;
}

static int add_console(struct vm *vm, struct err *e)
{
    const struct vm_config *c = vm->config;
    struct console_config cc = {.nports = c->console_ports};
    CLEANUP(fd_closep) int file = -1;
    int extra[CONSOLE_PORTS_MAX] = {-1, -1, -1};
    static const char *const names[CONSOLE_PORTS_MAX] = {NULL, "cubby.1", "cubby.2"};
    for (unsigned i = 0; i < CONSOLE_PORTS_MAX; i++)
        cc.port[i] = (struct console_port_config){.in_fd = -1, .out_fd = -1, .name = names[i]};

    if (c->console && strcmp(c->console, "-") == 0) {
        cc.port[0].in_fd = STDIN_FILENO;
        cc.port[0].out_fd = STDOUT_FILENO;
        struct winsize size;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
            cc.cols = size.ws_col;
            cc.rows = size.ws_row;
        }
    } else if (c->console) {
        file = open(c->console, CONSOLE_OPEN, 0600);
        if (file < 0)
            return err_sys(e, "cannot open '%s' for the console", c->console);
        cc.port[0].out_fd = file;
    }
    int r = open_extra_ports(c, &cc, extra, e);
    struct vdev *dev = NULL;
    if (r == 0)
        r = console_create(&dev, &cc, &vm->mem, vm->loop, e);
    for (unsigned i = 0; i < CONSOLE_PORTS_MAX; i++)
        fd_closep(&extra[i]); /* the device has copies */
    return r ? r : plug(vm, "console", dev, e);
}

static int add_vsock(struct vm *vm, struct err *e)
{
    struct vsock_config vc = {.path = vm->config->vsock_path, .guest_cid = vm->config->vsock_cid};
    struct vdev *dev;
    int r = vsock_create(&dev, &vc, &vm->mem, vm->loop, e);
    return r ? r : plug(vm, "vsock", dev, e);
}

/* The guest sees an I/O error and cannot know why; the owner may be able to make room. The disks' thread. */
static void tell_failure(void *context, int error)
{
    struct vm *vm = context;
    status_event(
        vm->status, "disk-failed", now_ns() - vm->timeline->start_ns,
        json_pack("{s:s}", "detail", error == -ENODATA ? "the image has become shorter" : strerror(-error)));
}

static int add_disk(struct vm *vm, unsigned i, struct err *e)
{
    const struct disk_config *disk = &vm->config->disk[i];
    struct blk_config bc = {.path = disk->path,
                            .read_only = disk->read_only,
                            .serial = disk->serial,
                            .fd = -1,
                            .host_failed = tell_failure,
                            .context = vm};
    struct vdev *dev;
    int r = blk_create(&dev, &bc, &vm->mem, vm->disk_loop, e);
    if (r)
        return r;
    char name[16];
    snprintf(name, sizeof(name), "disk%u", i);
    return plug(vm, name, dev, e);
}

int devices_init(struct vm *vm, struct err *e)
{
    int r = add_console(vm, e);
    if (r == 0 && vm->config->vsock_path)
        r = add_vsock(vm, e);
    for (unsigned i = 0; r == 0 && i < vm->config->ndisks; i++)
        r = add_disk(vm, i, e);
    return r;
}

void devices_fini(struct devices *d)
{
    while (d->count > 0)
        vmmio_destroy(d->device[--d->count].mmio);
}

struct vdev *devices_console(const struct devices *d)
{
    return d->count > 0 ? d->device[0].vdev : NULL;
}
