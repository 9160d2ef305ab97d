/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one small file in a folder that only we can write to: a line with all that the verdict
 * depends on, a line with the verdict, the reason. A file with another first line is somebody's past and
 * counts as none.
 */
#include "runtime/kvm_cache.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_NAME "kvm-probe"
#define KEY_MAX    256
#define FILE_MAX   4096
#define PATH_LEN   160

static int make_key(const char *program, char key[KEY_MAX])
{
    CLEANUP(mem_freep) char *boot = NULL;
    size_t len;
    struct stat kvm, vmm;
    if (stat("/dev/kvm", &kvm) < 0 || stat(program, &vmm) < 0 ||
        read_file("/proc/sys/kernel/random/boot_id", 64, &boot, &len, NULL) < 0)
        return -ENOENT;
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(key, KEY_MAX, "%s kvm %llu %llu %lld vmm %llu %lld %lld.%09ld\n", boot,
             (unsigned long long)kvm.st_dev, (unsigned long long)kvm.st_ino, (long long)kvm.st_ctime,
             (unsigned long long)vmm.st_ino, (long long)vmm.st_size, (long long)vmm.st_mtim.tv_sec,
             vmm.st_mtim.tv_nsec);
    return 0;
}

static void cache_path(const char *base, char path[PATH_LEN])
{
    snprintf(path, PATH_LEN, "%s/" CACHE_NAME, base);
}

enum kvm_verdict kvm_cache_read(const char *base, const char *program, struct err *why)
{
    char key[KEY_MAX], path[PATH_LEN];
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    cache_path(base, path);
    if (read_file(path, FILE_MAX, &text, &len, NULL) < 0 || make_key(program, key) < 0)
        return KVM_UNKNOWN;
    size_t key_len = strlen(key);
    if (strncmp(text, key, key_len) != 0)
        return KVM_UNKNOWN;
    char *verdict = text + key_len, *reason = strchr(verdict, '\n');
    if (!reason)
        return KVM_UNKNOWN;
    *reason++ = '\0';
    if (strcmp(verdict, "usable") == 0)
        return KVM_USABLE;
    if (strcmp(verdict, "unusable") != 0 || !*reason)
        return KVM_UNKNOWN;
    err_set(why, -ENODEV, "%s", reason);
    return KVM_UNUSABLE;
}

void kvm_cache_write(const char *base, const char *program, enum kvm_verdict verdict, const char *why)
{
    char key[KEY_MAX], path[PATH_LEN], text[FILE_MAX];
    struct err e;
    if (verdict == KVM_UNKNOWN || make_key(program, key) < 0)
        return;
    int n = snprintf(text, sizeof(text), "%s%s\n%s", key, verdict == KVM_USABLE ? "usable" : "unusable",
                     verdict == KVM_UNUSABLE ? why : "");
    cache_path(base, path);
    if (n > 0 && (size_t)n < sizeof(text) && write_file_atomic(path, text, (size_t)n, 0600, &e) < 0)
        log_info(LOG_BOX, "the verdict on KVM is not kept: %s", e.text);
}
