/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probe of KVM said last, kept beside the boxes for as long as it can be true: this boot, this
 * /dev/kvm, this cubby-vmm. So a host whose KVM cannot run boxes says so at once the second time, and one
 * that can is not probed again when a boot is slow. `cubby doctor` always probes.
 */
#ifndef CUBBY_RUNTIME_KVM_CACHE_H
#define CUBBY_RUNTIME_KVM_CACHE_H

#include "base/err.h"

enum kvm_verdict {
    KVM_UNKNOWN,
    KVM_USABLE,
    KVM_UNUSABLE,
};

/* `base` is the folder of all boxes, `program` the path of cubby-vmm. With KVM_UNUSABLE *why says why. */
enum kvm_verdict kvm_cache_read(const char *base, const char *program, struct err *why);
/* Keeps a verdict; failures are logged and change nothing. `why` is needed with KVM_UNUSABLE only. */
void kvm_cache_write(const char *base, const char *program, enum kvm_verdict verdict, const char *why);

#endif
