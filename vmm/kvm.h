/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM as the VMM sees it: /dev/kvm, what it must be able to do, and thin wrappers of the ioctls that set a
 * machine up (Documentation/virt/kvm/api.rst in Linux). Wrappers that take a struct err say what failed and
 * what to try; the others, meant for running guests, return a bare negative errno.
 */
#ifndef CUBBY_VMM_KVM_H
#define CUBBY_VMM_KVM_H

#include "base/err.h"
#include "base/gmem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVM_DEVICE "/dev/kvm"

struct kvm_run;

struct kvm {
    int fd;             /* of /dev/kvm; owned; -1 when closed */
    size_t run_size;    /* bytes to map per vCPU for struct kvm_run */
    unsigned max_vcpus; /* what this host's KVM allows in one VM */
};

/* A capability that the VMM does not work without. */
struct kvm_need {
    int cap;          /* KVM_CAP_… */
    int min;          /* least value of KVM_CHECK_EXTENSION */
    const char *name; /* "KVM_CAP_IRQFD" */
    const char *why;  /* what it is used for */
};

/* The needs of every architecture, and this one's own (arch/<name>/kvm_<name>.c). Both end with name == NULL.
 */
extern const struct kvm_need kvm_needs[];
extern const struct kvm_need kvm_arch_needs[];

/*
 * Opens `device` (KVM_DEVICE but for tests) and checks the API version. Errors: -ENOENT no such device,
 * -EACCES not permitted, -ENODEV not a working KVM, -ENOTSUP wrong API version; the text says what to try.
 */
int kvm_open(struct kvm *k, const char *device, struct err *e);
/* Safe on a closed one. */
void kvm_close(struct kvm *k);

/* KVM_CHECK_EXTENSION: the capability's value, 0 when it is not there. */
int kvm_cap(const struct kvm *k, int cap);
/* 0, or -ENOTSUP with the first capability that is missing, by name. */
int kvm_check_needs(const struct kvm *k, struct err *e);

/* The new descriptor (the caller's), or a negative errno. */
int kvm_create_vm(const struct kvm *k, struct err *e);
/* Also maps the vCPU's struct kvm_run, which the caller unmaps (k->run_size bytes). */
int kvm_create_vcpu(const struct kvm *k, int vm_fd, unsigned index, struct kvm_run **run, struct err *e);

/* Makes every region of `mem` the guest's memory, one slot each. */
int kvm_set_memory(int vm_fd, const struct gmem *mem, struct err *e);

/* (De)attaches an eventfd as the source of interrupts on `gsi`. A count that it holds already when it is
 * attached is injected at once (kvm_irqfd_assign() polls it). */
int kvm_irqfd(int vm_fd, int fd, uint32_t gsi, bool attach);
/* (De)attaches an eventfd to 4-byte writes of `value` at `gpa`. */
int kvm_ioeventfd(int vm_fd, int fd, gpa_t gpa, uint32_t value, bool attach);

/* ioctl(2) that tries again after EINTR: the result, or a negative errno. `arg` is what the request says: a
 * struct to read, to fill, or both; NULL for none. kvm_ioctl_n() is for requests that take a number. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_n(int fd, unsigned long request, unsigned long arg);

#endif
