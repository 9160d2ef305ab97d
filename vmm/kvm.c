/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: KVM is three kinds of descriptor. /dev/kvm answers questions and makes VMs; a VM
 * descriptor holds memory slots and interrupt routes; a vCPU descriptor runs. Everything here happens on the
 * main thread before a vCPU runs, but for kvm_irqfd(), which the I/O APIC calls when the guest masks a pin
 * (KVM locks it itself).
 */
#include "vmm/kvm.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* The version that is "12" since Linux 2.6.22 and will stay so (api.rst, KVM_GET_API_VERSION). */
_Static_assert(KVM_API_VERSION == 12, "this VMM speaks version 12 of KVM's API");

const struct kvm_need kvm_needs[] = {
    {KVM_CAP_USER_MEMORY, 1, "KVM_CAP_USER_MEMORY", "guest memory"},
    {KVM_CAP_NR_MEMSLOTS, GMEM_REGIONS_MAX, "KVM_CAP_NR_MEMSLOTS", "guest memory in several pieces"},
    {KVM_CAP_IRQFD, 1, "KVM_CAP_IRQFD", "interrupts of devices"},
    {KVM_CAP_IRQ_ROUTING, 1, "KVM_CAP_IRQ_ROUTING", "interrupt routes"},
    {KVM_CAP_IOEVENTFD, 1, "KVM_CAP_IOEVENTFD", "kicks of devices"},
    {KVM_CAP_MP_STATE, 1, "KVM_CAP_MP_STATE", "more than one vCPU"},
    {KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT", "stopping a vCPU without a race"},
    {0, 0, NULL, NULL},
};

int kvm_ioctl_n(int fd, unsigned long request, unsigned long arg)
{
    int r;
    do {
        r = ioctl(fd, request, arg);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    return kvm_ioctl_n(fd, request, (unsigned long)(uintptr_t)arg);
}

/* The text for a /dev/kvm that does not open: what to try depends on why. */
static int open_failed(const char *device, struct err *e)
{
    switch (errno) {
    case ENOENT:
        return err_set(e, -ENOENT,
                       "%s does not exist: this host offers no KVM; load kvm_intel or kvm_amd, switch on "
                       "virtualization in its firmware, or (in a container) pass the device in",
                       device);
    case EACCES:
    case EPERM:
        return err_set(
            e, -EACCES,
            "%s may not be opened by this user: join its group (usermod -aG kvm $USER, then log in "
            "again), or (in a container) allow the device",
            device);
    case ENODEV:
    case ENXIO:
        return err_set(e, -ENODEV,
                       "%s exists, but no driver is behind it: load kvm_intel or kvm_amd, or switch on "
                       "virtualization in the firmware",
                       device);
    default:
        return err_sys(e, "cannot open %s", device);
    }
}

int kvm_open(struct kvm *k, const char *device, struct err *e)
{
    *k = (struct kvm){.fd = -1};
    CLEANUP(fd_closep) int fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return open_failed(device, e);

    int version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version < 0)
        return err_set(e, -ENODEV, "%s is not KVM: it does not answer KVM_GET_API_VERSION (%s)", device,
                       strerror(-version));
    if (version != KVM_API_VERSION)
        return err_set(e, -ENOTSUP, "%s speaks version %d of KVM's API, %d is needed: use a newer kernel",
                       device, version, KVM_API_VERSION);

    int size = kvm_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (size < (int)sizeof(struct kvm_run))
        return err_set(e, -ENODEV, "%s reports a vCPU area of %d bytes, at least %zu are needed", device,
                       size, sizeof(struct kvm_run));
    k->run_size = (size_t)size;

    int max = kvm_ioctl_n(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    if (max <= 0) /* api.rst 4.4: then KVM_CAP_NR_VCPUS is the maximum, and 4 if that is missing too */
        max = kvm_ioctl_n(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
    k->max_vcpus = max > 0 ? (unsigned)max : 4;
    k->fd = STEAL_FD(fd);
    return 0;
}

void kvm_close(struct kvm *k)
{
    fd_closep(&k->fd);
    k->fd = -1;
}

int kvm_cap(const struct kvm *k, int cap)
{
    int value = kvm_ioctl_n(k->fd, KVM_CHECK_EXTENSION, (unsigned long)cap);
    return value < 0 ? 0 : value;
}

static int check_list(const struct kvm *k, const struct kvm_need *need, struct err *e)
{
    for (; need->name; need++) {
        if (kvm_cap(k, need->cap) < need->min)
            return err_set(e, -ENOTSUP, "this host's KVM lacks %s (%s): use a newer kernel", need->name,
                           need->why);
    }
    return 0;
}

int kvm_check_needs(const struct kvm *k, struct err *e)
{
    int r = check_list(k, kvm_needs, e);
    return r ? r : check_list(k, kvm_arch_needs, e);
}

int kvm_create_vm(const struct kvm *k, struct err *e)
{
    int fd = kvm_ioctl(k->fd, KVM_CREATE_VM, NULL);
    if (fd >= 0)
        return fd;
    if (fd == -EBUSY)
        return err_set(e, fd,
                       "cannot create a VM: another hypervisor holds this machine's virtualization "
                       "(VirtualBox, VMware?): stop it first");
    return err_set(e, fd, "cannot create a VM (KVM_CREATE_VM): %s", strerror(-fd));
}

int kvm_create_vcpu(const struct kvm *k, int vm_fd, unsigned index, struct kvm_run **run, struct err *e)
{
    int r = kvm_ioctl_n(vm_fd, KVM_CREATE_VCPU, index);
    if (r < 0)
        return err_set(e, r, "cannot create vCPU %u (KVM_CREATE_VCPU): %s", index, strerror(-r));
    CLEANUP(fd_closep) int fd = r;
    void *p = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_sys(e, "cannot map the state of vCPU %u", index);
    *run = p;
    return STEAL_FD(fd);
}

int kvm_set_memory(int vm_fd, const struct gmem *mem, struct err *e)
{
    for (unsigned i = 0; i < mem->count; i++) {
        const struct gmem_region *region = &mem->region[i];
        struct kvm_userspace_memory_region slot = {
            .slot = i,
            .guest_phys_addr = region->gpa,
            .memory_size = region->size,
            .userspace_addr = (uintptr_t)region->hva,
        };
        int r = kvm_ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &slot);
        if (r)
            return err_set(e, r, "cannot give the guest %llu MiB of memory at %#llx: %s",
                           (unsigned long long)(region->size >> 20), (unsigned long long)region->gpa,
                           strerror(-r));
    }
    return 0;
}

int kvm_irqfd(int vm_fd, int fd, uint32_t gsi, bool attach)
{
    struct kvm_irqfd irqfd = {
        .fd = (uint32_t)fd,
        .gsi = gsi,
        .flags = attach ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
    };
    return kvm_ioctl(vm_fd, KVM_IRQFD, &irqfd);
}

int kvm_ioeventfd(int vm_fd, int fd, gpa_t gpa, uint32_t value, bool attach)
{
    struct kvm_ioeventfd ioeventfd = {
        .datamatch = value,
        .addr = gpa,
        .len = sizeof(value),
        .fd = fd,
        .flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (attach ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    return kvm_ioctl(vm_fd, KVM_IOEVENTFD, &ioeventfd);
}
