/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes with disks, in real guests: what lasts over stop and start, and over a VMM that is killed; what a
 * full disk and a full host do to a box.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "cubby.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 120000
#define GRACE_MS    20000

/* Of a box that was stopped in order: nothing is to be replayed. */
#define CLEAN "e2fsck -fn $d && ! dumpe2fs -h $d 2>&1 | grep needs_recovery"

static char root[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/cubby-disk-XXXXXX");
    setenv("CUBBY_ASSETS", "build", 0);
    return mkdtemp(root) && setenv("CUBBY_HOME", root, 1) == 0 && setenv("XDG_RUNTIME_DIR", root, 1) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    umount2(root, MNT_DETACH); /* where a test mounted something and failed */
    snprintf(line, sizeof(line), "rm -rf %s", root);
    return system(line); /* NOLINT(cert-env33-c): a test's own constants */
}

static struct cubby_box *create(unsigned disk_mib)
{
    struct cubby_box *box;
    struct cubby_error e;
    struct cubby_box_options o = {.size = sizeof(o), .memory_mib = 128, .disk_mib = disk_mib};
    if (cubby_box_create(&box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return box;
}

static void start(struct cubby_box *box)
{
    struct cubby_error e;
    if (cubby_box_start(box, &e) < 0 || cubby_box_wait_ready(box, PATIENCE_MS, &e) < 0)
        fail_msg("%s", e.message);
}

static void stop(struct cubby_box *box)
{
    struct cubby_error e;
    assert_int_equal(cubby_box_stop(box, GRACE_MS, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_STOPPED);
}

/* Runs a shell's line in the box; shows what it writes; returns its exit code. */
static int sh(struct cubby_box *box, const char *line)
{
    struct cubby_exec *x;
    struct cubby_error e;
    struct cubby_result r = {.size = sizeof(r)};
    char text[4096];
    const char *argv[] = {"sh", "-c", line, NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv, .timeout_ms = PATIENCE_MS};
    if (cubby_exec_start(&x, box, &o, &e) < 0 || cubby_exec_wait(x, PATIENCE_MS, &r, &e) < 0)
        fail_msg("'%s': %s", line, e.message);
    for (int stream = CUBBY_STDOUT; stream <= CUBBY_STDERR; stream++) {
        ssize_t n = cubby_exec_read(x, stream, text, sizeof(text));
        if (n > 0)
            fprintf(stderr, "# %.*s\n", (int)n, text);
    }
    cubby_exec_free(x);
    return r.exit_code;
}

/* The box's disk has no name: this is our descriptor of it. */
static void find_disk(char out[64])
{
    DIR *d = opendir("/proc/self/fd");
    out[0] = '\0';
    for (struct dirent *entry; (entry = readdir(d));) {
        char link[300], target[300] = "";
        snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strstr(target, "/cubby-disk-"))
            snprintf(out, 64, "/proc/%d/fd/%.20s", (int)getpid(), entry->d_name);
    }
    closedir(d);
    assert_string_not_equal(out, "");
}

/* A shell's line on this host, for which $d is the disk. */
static int host(const char *line)
{
    char disk[64], command[512];
    find_disk(disk);
    snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin; d=%s; c=%s/copy; { %s; } >&2", disk, root,
             line);
    int status = system(command); /* NOLINT(cert-env33-c): a test's own constants */
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void what_was_written_lasts_over_stop_and_start(void **state)
{
    (void)state;
    struct cubby_box *box = create(64);
    start(box);
    assert_int_equal(
        sh(box, "set -e; mkdir /new; echo kept >/new/file; ln /new/file /new/link; ln -s file /new/sym;"
                " chown 12:34 /new/file; chmod 4751 /new/file; echo changed >/etc/passwd; rm /bin/ls;"
                " head -c 3000000 /dev/urandom >/new/big; sha256sum /new/big >/new/sum; echo x >/tmp/x"),
        0);
    for (int i = 0; i < 2; i++) {
        stop(box);
        assert_int_equal(host(CLEAN), 0);
        start(box);
        assert_int_equal(sh(box,
                            "set -e; cat /new/link; test \"$(stat -c %a:%u:%g:%h /new/file)\" = 4751:12:34:2;"
                            " test \"$(readlink /new/sym)\" = file; sha256sum -c /new/sum;"
                            " test \"$(cat /etc/passwd)\" = changed; test ! -e /bin/ls; test ! -e /tmp/x"),
                         0);
    }
    cubby_box_destroy(box);
}

static void without_a_disk_it_is_forgotten(void **state)
{
    (void)state;
    struct cubby_box *box = create(0);
    start(box);
    assert_int_equal(sh(box, "echo x >/new"), 0);
    stop(box);
    start(box);
    assert_int_equal(sh(box, "test ! -e /new"), 0);
    cubby_box_destroy(box);
}

static void what_was_synced_lasts_over_a_vmm_that_is_killed(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = create(64);
    start(box);
    assert_int_equal(sh(box,
                        "echo precious >/kept && sync &&"
                        " (i=0; while :; do echo $i >/f$i; mkdir /d$i; i=$((i+1)); done) >/dev/null 2>&1 &"
                        " sleep 2"),
                     0);
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_EGUEST_LOST);
    /* Replaying the journal, and counting what is free, is all it needs. */
    assert_int_equal(host("cp --sparse=always $d $c; e2fsck -fp $c; test $? -le 1 && e2fsck -fn $c"), 0);
    start(box);
    assert_int_equal(sh(box, "test \"$(cat /kept)\" = precious && echo more >/more"), 0);
    stop(box);
    assert_int_equal(host(CLEAN), 0);
    cubby_box_destroy(box);
}

static void a_full_disk_is_an_error_of_the_command_and_the_box_goes_on(void **state)
{
    (void)state;
    struct cubby_box *box = create(16);
    start(box);
    assert_int_equal(sh(box, "cat /dev/zero >/fill 2>/tmp/err; grep 'No space left' /tmp/err"), 0);
    assert_int_not_equal(sh(box, "head -c 100000 /dev/zero >/more"), 0);
    assert_int_equal(sh(box, "test -s /fill; cat /etc/hosts >/dev/null; echo x >/tmp/x"), 0);
    stop(box);
    assert_int_equal(host(CLEAN), 0);
    start(box); /* a full disk can be mounted, and emptied */
    assert_int_not_equal(sh(box, "head -c 100000 /dev/zero >/more"), 0);
    assert_int_equal(sh(box, "rm -f /fill /more && sync && head -c 4000000 /dev/zero >/again"), 0);
    stop(box);
    assert_int_equal(host(CLEAN), 0);
    cubby_box_destroy(box);
}

static void a_full_host_is_told_and_the_box_goes_on(void **state)
{
    (void)state;
    struct cubby_error e;
    assert_int_equal(mount("tmpfs", root, "tmpfs", 0, "size=6m,mode=0700"), 0);
    struct cubby_box *box = create(64);
    start(box);
    sh(box, "head -c 20000000 /dev/zero >/fill; sync");
    assert_int_equal(sh(box, "cat /bin/busybox >/tmp/x && cmp /bin/busybox /tmp/x"),
                     0); /* the image, and memory */
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_EGUEST_LOST);
    fprintf(stderr, "# %s\n", e.message);
    assert_non_null(strstr(e.message, "No space left on device"));
    cubby_box_destroy(box);
    assert_int_equal(umount2(root, MNT_DETACH), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_lasts_over_stop_and_start),
        TEST(without_a_disk_it_is_forgotten),
        TEST(what_was_synced_lasts_over_a_vmm_that_is_killed),
        TEST(a_full_disk_is_an_error_of_the_command_and_the_box_goes_on),
        TEST(a_full_host_is_told_and_the_box_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
