/* SPDX-License-Identifier: Apache-2.0 */
/* Copies into and out of a real guest: what is kept, where it lands, what it costs, and what stays when there
 * is no room or the machine dies. One box for all. $CUBBY_ASSETS says where its files are, $TMPDIR where to
 * work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/base/trees.h"

#include <signal.h>

#define MEMORY_MIB 1024
#define DEADLINE_S 240

static struct cubby_box *box;
static struct cubby_error e;
static char here[160];

static int set_up(void **state)
{
    (void)state;
    struct cubby_box_options o = {.size = sizeof(o), .memory_mib = MEMORY_MIB};
    alarm(DEADLINE_S);
    snprintf(here, sizeof(here), "%s/here", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (mkdir(here, 0755) < 0 || cubby_box_create(&box, &o, &e) < 0 || cubby_box_start(box, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return -1;
    }
    return 0; /* the first copy waits for it */
}

static int tear_down(void **state)
{
    (void)state;
    cubby_box_destroy(box);
    tree_remove(here);
    return access(here, F_OK) == 0;
}

static void good(int ret)
{
    if (ret < 0)
        fail_msg("%s: %s", cubby_code_name(ret), e.message);
}

static void bad(int ret, int code, const char *words)
{
    if (ret != code || !strstr(e.message, words))
        fail_msg("%s: %s", cubby_code_name(ret), e.message);
}

/* What `sh -c script` writes to stdout in the box, which must succeed. Valid until the next call. */
static const char *sh(const char *script)
{
    static char out[8192];
    const char *argv[] = {"sh", "-c", script, NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    struct cubby_result r = {.size = sizeof(r)};
    struct cubby_exec *x;
    size_t len = 0;
    good(cubby_exec_start(&x, box, &o, &e));
    for (;;) {
        cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, CUBBY_FOREVER);
        ssize_t n = cubby_exec_read(x, CUBBY_STDOUT, out + len, sizeof(out) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    out[len] = '\0';
    good(cubby_exec_wait(x, CUBBY_FOREVER, &r, &e));
    cubby_exec_free(x);
    if (r.exit_code != 0)
        fail_msg("'%s' ended with %d: %s", script, r.exit_code, out);
    return out;
}

static struct cubby_copy_options archive(void)
{
    return (struct cubby_copy_options){.size = sizeof(struct cubby_copy_options),
                                       .flags = CUBBY_COPY_ARCHIVE};
}

static void a_tree_with_everything_goes_in_and_out(void **state)
{
    (void)state;
    struct cubby_copy_options o = archive();
    struct cubby_copy_result in = {.size = sizeof(in)}, out = {.size = sizeof(out)};
    char from[200], to[200];
    snprintf(from, sizeof(from), "%s/tree", here);
    snprintf(to, sizeof(to), "%s/back", here);
    assert_int_equal(mkdir(from, 0755), 0);
    tree_fill(from);
    good(cubby_copy_in(box, from, "/data", &o, &in, &e)); /* while it boots */
    good(cubby_copy_out(box, "/data", to, &o, &out, &e));
    assert_same_trees(from, to, true);
    assert_true(in.entries == out.entries && in.xattrs_lost + out.xattrs_lost == 0);
}

static void the_box_sees_what_was_copied(void **state)
{
    (void)state;
    assert_string_equal(sh("stat -c '%u:%g %a %s %Y' /data/small; stat -c '%u:%g %a' /data/setuid /data/sub"),
                        "1234:5678 644 6 1234567890\n99:98 6755\n0:0 755\n");
    assert_string_equal(sh("cat /data/small; readlink /data/link-up; stat -c '%F %t:%T' /data/char"),
                        "small\n../../../..\ncharacter special file 1:3\n");
    assert_string_equal(sh("cd /data; ls -i small zzz-small sub/small-too | awk '{print $1}' | uniq | wc -l"),
                        "1\n");
}

static void without_archive_root_owns_it_or_whom_one_names(void **state)
{
    (void)state;
    struct cubby_copy_options o = {.size = sizeof(o), .owner = "nobody:7"};
    tree_text(pathf("%s/plain", here), "plain");
    assert_int_equal(chown(pathf("%s/plain", here), 1234, 1234), 0);
    good(cubby_copy_in(box, pathf("%s/plain", here), "/root", NULL, NULL, &e));
    good(cubby_copy_in(box, pathf("%s/plain", here), "/root/named", &o, NULL, &e));
    assert_string_equal(sh("stat -c '%u:%g' /root/plain /root/named"), "0:0\n65534:7\n");
    o.flags = CUBBY_COPY_NO_REPLACE;
    good(cubby_copy_in(box, pathf("%s/plain", here), "/root/once", &o, NULL, &e));
    bad(cubby_copy_in(box, pathf("%s/plain", here), "/root/once", &o, NULL, &e), CUBBY_EEXISTS,
        "in the box: cannot copy to '/root/once': it exists");
}

static void a_sparse_file_of_five_gigabytes_costs_little(void **state)
{
    (void)state;
    struct cubby_copy_result r = {.size = sizeof(r)};
    struct stat st;
    tree_sparse(pathf("%s/sparse", here), (off_t)5 << 30, "end");
    uint64_t start = now_ns();
    good(cubby_copy_in(box, pathf("%s/sparse", here), "/tmp/sparse", NULL, &r, &e));
    good(cubby_copy_out(box, "/tmp/sparse", pathf("%s/sparse-back", here), NULL, &r, &e));
    assert_true(now_ns() - start < 20 * NSEC_PER_SEC);
    assert_true(r.bytes < 100000);
    assert_int_equal(atoi(sh("stat -c %b /tmp/sparse")) > 64, 0);
    assert_string_equal(sh("stat -c %s /tmp/sparse"), "5368709120\n");
    assert_int_equal(stat(pathf("%s/sparse-back", here), &st), 0);
    assert_true(st.st_size == (off_t)5 << 30 && st.st_blocks < 64);
    sh("rm /tmp/sparse");
}

/* Words of a generator, so that each block is another. */
static void make_block(uint64_t *block, size_t words, uint64_t *seed)
{
    for (size_t i = 0; i < words; i++) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        block[i] = *seed;
    }
}

/* $LARGE_MIB: by hand, for hundreds; the lab's emulated processor moves some 5 MiB a second. */
static void a_large_file_arrives_as_it_is(void **state)
{
    (void)state;
    const char *wish = getenv("LARGE_MIB");
    int large = wish ? atoi(wish) : 32;
    static uint64_t block[1 << 17], got[1 << 17];
    struct cubby_copy_result r = {.size = sizeof(r)};
    uint64_t seed = 88172645463325252;
    CLEANUP(fd_closep) int fd = open(pathf("%s/large", here), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    for (int i = 0; i < large; i++) {
        make_block(block, ARRAY_LEN(block), &seed);
        assert_int_equal(write_full(fd, block, sizeof(block)), 0);
    }
    uint64_t start = now_ns();
    good(cubby_copy_in(box, pathf("%s/large", here), "/large", NULL, &r, &e));
    assert_int_equal(r.bytes, (uint64_t)large << 20);
    uint64_t middle = now_ns();
    good(cubby_copy_out(box, "/large", pathf("%s/large-back", here), NULL, &r, &e));
    print_message("# %d MiB in: %llu ms, out: %llu ms\n", large,
                  (unsigned long long)((middle - start) / NSEC_PER_MSEC),
                  (unsigned long long)((now_ns() - middle) / NSEC_PER_MSEC));
    CLEANUP(fd_closep) int back = open(pathf("%s/large-back", here), O_RDONLY | O_CLOEXEC);
    seed = 88172645463325252;
    for (int i = 0; i < large; i++) {
        make_block(block, ARRAY_LEN(block), &seed);
        assert_int_equal(read_full(back, got, sizeof(got)), 0);
        assert_memory_equal(got, block, sizeof(block));
    }
    unlink(pathf("%s/large-back", here));
    sh("rm /large");
}

static void a_mount_of_the_box_gets_what_is_copied_onto_it(void **state)
{
    (void)state;
    sh("mkdir /m /m2 && mount -t tmpfs -o size=1m none /m && echo hidden >/m2/hidden && mount -t tmpfs none "
       "/m2");
    good(cubby_copy_in(box, pathf("%s/plain", here), "/m", NULL, NULL, &e));
    good(cubby_copy_in(box, pathf("%s/plain", here), "/m2/sub-by-name", NULL, NULL, &e));
    assert_string_equal(sh("cat /m/plain; ls /m2; umount /m2; ls /m2"), "plainsub-by-name\nhidden\n");
    sh("echo -n inside >/m/inside");
    good(cubby_copy_out(box, "/m/inside", here, NULL, NULL, &e));
    assert_string_equal(tree_read(pathf("%s/inside", here)), "inside");
}

static void a_full_mount_is_the_boxs_and_the_old_file_stays(void **state)
{
    (void)state;
    static char big[3 << 20];
    memset(big, 1, sizeof(big));
    tree_write(pathf("%s/inside", here), big, sizeof(big), 0644);
    bad(cubby_copy_in(box, pathf("%s/inside", here), "/m", NULL, NULL, &e), CUBBY_EGUEST_STORAGE,
        "in the box: cannot write '/m/inside': No space left on device");
    assert_string_equal(sh("cat /m/inside; ls -A /m"), "insideinside\nplain\n");
    sh("umount /m");
}

static void links_in_the_box_lead_nowhere(void **state)
{
    (void)state;
    sh("mkdir -p /t/tree /elsewhere && ln -s /elsewhere /t/tree/sub && ln -s /elsewhere/new /t/link");
    bad(cubby_copy_in(box, pathf("%s/tree", here), "/t", NULL, NULL, &e), CUBBY_ENOTDIR, "'/t/tree/sub'");
    good(cubby_copy_in(box, pathf("%s/plain", here), "/t/link", NULL, NULL, &e)); /* replaces it */
    assert_string_equal(sh("ls -A /elsewhere | wc -l; cat /t/link"), "0\nplain");
}

static void the_whole_box_can_be_copied_out(void **state)
{
    (void)state;
    struct cubby_copy_result r = {.size = sizeof(r)};
    good(cubby_copy_out(box, "/", pathf("%s/all", here), NULL, &r, &e));
    assert_true(r.entries > 100 && r.skipped > 5);
    assert_int_equal(tree_count(pathf("%s/all/proc", here), ""), 0);
    assert_int_equal(tree_count(pathf("%s/all/sys", here), ""), 0);
    assert_string_equal(tree_read(pathf("%s/all/data/small", here)), "small\n");
}

static void transfers_leave_no_process_and_no_group(void **state)
{
    (void)state;
    /* The kernel needs a moment for the last one; the groups are this command's own and perhaps its shell's.
     */
    assert_string_equal(sh("for i in 1 2 3 4 5 6 7 8 9 10; do n=$(ls -d /sys/fs/cgroup/cubby/*/ | wc -l); "
                           "[ $n = 1 ] && break; sleep 0.1; done; echo $n; ls -A / | grep -c cubby- || true"),
                        "1\n0\n");
}

static void a_machine_that_dies_is_noticed(void **state)
{
    (void)state;
    tree_text(pathf("%s/sparse-back", here), "old");
    struct cubby_copy_options o = archive();
    pid_t vmm = cubby_box_pid(box);
    sh("head -c 100000000 /dev/zero >/zeros");
    pid_t killer = fork();
    if (killer == 0) {
        usleep(100000);
        kill(vmm, SIGKILL);
        _exit(0);
    }
    uint64_t start = now_ns();
    bad(cubby_copy_out(box, "/zeros", pathf("%s/sparse-back", here), &o, NULL, &e), CUBBY_EGUEST_LOST,
        "SIGKILL");
    assert_true(now_ns() - start < 5 * NSEC_PER_SEC);
    assert_string_equal(tree_read(pathf("%s/sparse-back", here)), "old");
    assert_int_equal(tree_count(here, ".cubby-"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_with_everything_goes_in_and_out),
        cmocka_unit_test(the_box_sees_what_was_copied),
        cmocka_unit_test(without_archive_root_owns_it_or_whom_one_names),
        cmocka_unit_test(a_sparse_file_of_five_gigabytes_costs_little),
        cmocka_unit_test(a_large_file_arrives_as_it_is),
        cmocka_unit_test(a_mount_of_the_box_gets_what_is_copied_onto_it),
        cmocka_unit_test(a_full_mount_is_the_boxs_and_the_old_file_stays),
        cmocka_unit_test(links_in_the_box_lead_nowhere),
        cmocka_unit_test(the_whole_box_can_be_copied_out),
        cmocka_unit_test(transfers_leave_no_process_and_no_group),
        cmocka_unit_test(a_machine_that_dies_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
