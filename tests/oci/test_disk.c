/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of boxes: what e2fsck says of them, how much they take, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct disk_params params(uint32_t mib)
{
    return (struct disk_params){
        .mib = mib, .uuid = "sixteen bytes ok", .label = "cubby-box", .created = 1700000000};
}

static int make(uint32_t mib)
{
    struct err e = {0};
    struct disk_params p = params(mib);
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600); /* not close-on-exec: e2fsck gets it */
    if (fd < 0 || disk_format(fd, &p, &e) < 0)
        fail_msg("%u MiB: %s", mib, e.text);
    return fd;
}

/* Runs a shell command, for which $d is the disk; its exit code. */
static int run(const char *command, int fd)
{
    char line[512];
    snprintf(line, sizeof(line), "exec >&2; PATH=$PATH:/sbin:/usr/sbin; d=/dev/fd/%d; %s", fd, command);
    int status = system(line); /* NOLINT(cert-env33-c): a test's own constants */
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void disks_of_all_sizes_are_clean_and_nearly_empty(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {16, 17, 127, 128, 129, 300, 1024, 10240, 102400, 1048576};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct stat st;
        CLEANUP(fd_closep) int fd = make(sizes[i]);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, (off_t)sizes[i] << 20);
        assert_true(st.st_blocks * 512 <= 256 * 1024 + (off_t)sizes[i] * 4); /* 4 bytes for each MiB */
        if (sizes[i] <= 10240) /* e2fsck needs memory and time for each inode */
            assert_int_equal(run("e2fsck -fn $d", fd), 0);
    }
}

static void a_disk_has_a_journal_checksums_and_its_identity(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int fd = make(64);
    assert_int_equal(
        run("set -e; for w in has_journal metadata_csum 'UUID: *73697874-6565-6e20-6279-746573206f6b'"
            " 'volume name: *cubby-box' 'behavior: *Remount read-only' 'Journal start: *0';"
            " do dumpe2fs -h $d 2>/dev/null | grep -q \"$w\"; done",
            fd),
        0);
}

/* What libext2fs of another program writes to it is found clean as well: the free counts hold. */
static void a_disk_can_be_written_to(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int fd = make(16);
    assert_int_equal(run("debugfs -w -R 'write /bin/sh sh' $d", fd), 0);
    assert_int_equal(run("e2fsck -fn $d", fd), 0);
}

static void the_same_parameters_give_the_same_bytes(void **state)
{
    (void)state;
    static char a[1 << 20], b[1 << 20];
    CLEANUP(fd_closep) int one = make(300);
    CLEANUP(fd_closep) int two = make(300);
    for (off_t at = 0; at < (off_t)300 << 20; at += (off_t)sizeof(a)) {
        assert_int_equal(pread(one, a, sizeof(a), at), (ssize_t)sizeof(a));
        assert_int_equal(pread(two, b, sizeof(b), at), (ssize_t)sizeof(b));
        assert_memory_equal(a, b, sizeof(a));
    }
}

static void refuse(int fd, uint32_t mib, int code, const char *words)
{
    struct err e = {0};
    struct disk_params p = params(mib);
    assert_int_equal(disk_format(fd, &p, &e), code);
    assert_non_null(strstr(e.text, words));
}

static void what_cannot_be_a_disk_is_refused(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int fd = memfd_create("disk", MFD_CLOEXEC);
    refuse(fd, 15, -EINVAL, "choose 16 to");
    refuse(fd, DISK_MIB_MAX + 1, -EINVAL, "choose 16 to");
    refuse(-1, 16, -EBADF, "cannot look at");
    assert_int_equal(write(fd, "x", 1), 1);
    refuse(fd, 16, -EEXIST, "not empty");
    CLEANUP(fd_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    refuse(null, 16, -EEXIST, "not empty");
}

static void a_host_that_has_no_such_files_says_so(void **state)
{
    (void)state;
    struct rlimit old, less;
    struct disk_params p = params(64);
    struct err e = {0};
    CLEANUP(fd_closep) int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    less = old;
    less.rlim_cur = 32 << 20;
    setrlimit(RLIMIT_FSIZE, &less);
    int ret = disk_format(fd, &p, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(ret, -EFBIG);
    assert_non_null(strstr(e.text, "64 MiB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_of_all_sizes_are_clean_and_nearly_empty),
        cmocka_unit_test(a_disk_has_a_journal_checksums_and_its_identity),
        cmocka_unit_test(a_disk_can_be_written_to),
        cmocka_unit_test(the_same_parameters_give_the_same_bytes),
        cmocka_unit_test(what_cannot_be_a_disk_is_refused),
        cmocka_unit_test(a_host_that_has_no_such_files_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
