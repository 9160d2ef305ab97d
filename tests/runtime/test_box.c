/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a box, with a fake VMM: start, ready, end in every way, and what is left afterwards: nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <sys/eventfd.h>
#include <sys/wait.h>

static struct place place;
static int descriptors;

static int set_up(void **state)
{
    (void)state;
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    unsetenv("FAKE_VMM");
    unsetenv("FAKE_PROBE");
    descriptors = count_entries("/proc/self/fd");
    return 0;
}

/* Every test: no folder, no temporary file, no descriptor, no child is left. */
static int tear_down(void **state)
{
    (void)state;
    int boxes = count_boxes(&place), files = count_entries(place.tmp), fds = count_entries("/proc/self/fd");
    int child = waitpid(-1, NULL, WNOHANG | __WALL);
    place_remove(&place);
    if (boxes || files || fds != descriptors || child >= 0)
        fprintf(stderr, "left over: %d boxes, %d files, %d descriptors, child %d\n", boxes, files,
                fds - descriptors, child);
    return boxes || files || fds != descriptors || child >= 0;
}

static struct cubby_box *start(const char *mode, unsigned boot_timeout_ms)
{
    struct cubby_box *box;
    struct cubby_error e = {0};
    struct cubby_box_options o = {
        .size = sizeof(o), .boot_timeout_ms = boot_timeout_ms, .flags = CUBBY_BOX_TIMELINE};
    setenv("FAKE_VMM", mode, 1);
    if (cubby_box_create(&box, &o, &e) < 0 || cubby_box_start(box, &e) < 0)
        fail_msg("%s", e.message);
    return box;
}

static void a_box_becomes_ready_and_is_gone_when_destroyed(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("ok", 0);
    assert_int_equal(strlen(cubby_box_id(box)), 12);
    assert_int_equal(cubby_box_wait_ready(box, 10000, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_RUNNING);
    assert_int_equal(cubby_box_failure(box, &e), 0);
    assert_true(cubby_box_pid(box) > 0);
    pid_t pid = cubby_box_pid(box);
    assert_int_equal(count_boxes(&place), 1);
    cubby_box_destroy(box);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(count_boxes(&place), 0);
}

static void a_box_that_was_never_started_can_be_destroyed(void **state)
{
    (void)state;
    struct cubby_box *box;
    struct cubby_error e;
    assert_int_equal(cubby_box_create(&box, NULL, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_CONFIGURED);
    assert_int_equal(cubby_box_wait_ready(box, 0, &e), CUBBY_ESTATE);
    assert_int_equal(cubby_box_wait_ended(box, 0, &e), CUBBY_ESTATE);
    assert_int_equal(cubby_box_stop(box, 100, &e), 0);
    cubby_box_destroy(box);
    cubby_box_destroy(NULL);
}

static void starting_twice_is_a_wrong_state(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("ok", 0);
    assert_int_equal(cubby_box_start(box, &e), CUBBY_ESTATE);
    cubby_box_destroy(box);
}

static void stop_ends_the_vm_and_keeps_timeline_and_console(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_mark marks[64];
    char text[64];
    struct cubby_box *box = start("ok", 0);
    assert_int_equal(cubby_box_wait_ready(box, 10000, &e), 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_STOPPED);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_ESTOPPED);
    assert_int_equal(cubby_box_pid(box), 0);
    assert_int_equal(cubby_box_console(box, text, sizeof(text)), 4);
    assert_string_equal(text, "bye\n");
    int n = cubby_box_timeline(box, marks, 64, &e);
    assert_true(n >= 6 && n < 64);
    assert_string_equal(marks[0].name, "spawn");
    assert_int_equal(marks[0].ns, 0);
    assert_string_equal(marks[n - 1].name, "exits/mmio");
    assert_int_equal(marks[n - 1].count, 9);
    for (int i = 1; i < n && !strchr(marks[i].name, '/'); i++)
        assert_true(marks[i].ns >= marks[i - 1].ns);
    assert_int_equal(cubby_box_timeline(box, marks, 1, &e), n); /* says how many there are */
    char *json = cubby_box_timeline_json(box);
    assert_non_null(strstr(json, "\"ready-received\""));
    assert_non_null(strstr(json, "\"exits_until_ready\""));
    free(json);
    cubby_box_destroy(box);
}

/* mode → code and words */
static void check_failure(const char *mode, int code, const char *words)
{
    struct cubby_error e = {0};
    struct cubby_box *box = start(mode, 0);
    assert_int_equal(cubby_box_wait_ready(box, 20000, &e), code);
    assert_non_null(strstr(e.message, words));
    assert_int_equal(cubby_box_state(box), CUBBY_FAILED);
    assert_int_equal(cubby_box_failure(box, &e), code);
    assert_int_equal(cubby_box_wait_ended(box, 0, &e), 0);
    cubby_box_destroy(box);
}

static void what_the_vmm_says_before_it_gives_up_is_carried(void **state)
{
    (void)state;
    check_failure("setup", CUBBY_EBOOT, "cannot open the kernel");
    check_failure("mute", CUBBY_EBOOT, "exit code 3");
}

static void a_forbidden_kvm_has_a_code_of_its_own_and_points_to_doctor(void **state)
{
    (void)state;
    check_failure("kvm", CUBBY_EKVM, "cubby doctor");
}

static void a_panic_while_booting_is_told_with_the_console(void **state)
{
    (void)state;
    char text[128];
    struct cubby_error e;
    check_failure("panic", CUBBY_EBOOT, "the guest's kernel panicked: no init");
    struct cubby_box *box = start("panic", 0);
    cubby_box_wait_ended(box, 20000, &e);
    cubby_box_console(box, text, sizeof(text));
    assert_string_equal(text, "[1] Kernel ?[31mpanic\nsecond line\n"); /* no escape sequence gets through */
    assert_int_equal(cubby_box_console(box, text, 6), 5);
    assert_string_equal(text, "line\n");
    cubby_box_destroy(box);
}

static void a_vmm_killed_while_booting_is_told(void **state)
{
    (void)state;
    check_failure("die", CUBBY_EBOOT, "signal 9 (SIGKILL)");
    check_failure("poweroff", CUBBY_EBOOT, "powered itself off");
}

static void an_agent_that_breaks_the_contract_ends_the_boot(void **state)
{
    (void)state;
    check_failure("bad-ready", CUBBY_EPROTOCOL, "agent");
    check_failure("bad-version", CUBBY_EPROTOCOL, "versions 9 to 9");
}

static void a_boot_that_hangs_ends_at_its_deadline(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("silent", 1000);
    assert_int_equal(cubby_box_wait_ready(box, 20000, &e), CUBBY_EBOOT);
    assert_non_null(strstr(e.message, "not ready after 1000 ms"));
    char text[16];
    cubby_box_console(box, text, sizeof(text));
    assert_string_equal(text, "bye\n"); /* the VMM was asked before it was killed */
    cubby_box_destroy(box);
}

static void waiting_can_time_out_and_go_on(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("silent", 0);
    assert_int_equal(cubby_box_wait_ready(box, 20, &e), CUBBY_ETIMEOUT);
    assert_int_equal(cubby_box_state(box), CUBBY_STARTING);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    assert_int_equal(cubby_box_wait_ready(box, 0, &e), CUBBY_ESTOPPED);
    cubby_box_destroy(box);
}

static void a_vmm_killed_later_makes_the_box_fail(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("ok", 0);
    assert_int_equal(cubby_box_wait_ready(box, 10000, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_RUNNING);
    kill(cubby_box_pid(box), SIGKILL);
    struct pollfd pfd = {.fd = cubby_box_fd(box), .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 10000), 1);
    assert_int_equal(cubby_box_wait_ended(box, 10000, &e), 0);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_EGUEST_LOST);
    assert_non_null(strstr(e.message, "SIGKILL"));
    cubby_box_destroy(box);
}

static void a_kvm_that_cannot_run_kernels_is_told_by_the_probe_and_remembered(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box;
    if (access("/dev/kvm", F_OK) < 0)
        return; /* the memory is keyed by the device */
    setenv("FAKE_PROBE", "unusable", 1);
    check_failure("die", CUBBY_EKVM, "cannot iretq; use another host");
    assert_int_equal(cubby_box_create(&box, NULL, &e), 0);
    assert_int_equal(cubby_box_start(box, &e), CUBBY_EKVM);
    assert_non_null(strstr(e.message, "cannot iretq"));
    cubby_box_destroy(box);
}

static void a_probe_that_is_slow_or_confused_does_not_condemn(void **state)
{
    (void)state;
    setenv("FAKE_PROBE", "slow", 1);
    check_failure("die", CUBBY_EBOOT, "SIGKILL");
    setenv("FAKE_PROBE", "confused", 1);
    check_failure("die", CUBBY_EBOOT, "SIGKILL");
}

static void refuse(struct cubby_box_options o, int code, const char *words)
{
    struct cubby_box *box = (void *)1;
    struct cubby_error e = {0};
    o.size = sizeof(o);
    assert_int_equal(cubby_box_create(&box, &o, &e), code);
    assert_null(box);
    assert_int_equal(e.code, code);
    assert_non_null(strstr(e.message, words));
}

static void options_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    refuse((struct cubby_box_options){.cpus = 65}, CUBBY_EARGUMENT, "65 CPUs");
    refuse((struct cubby_box_options){.memory_mib = 31}, CUBBY_EARGUMENT, "31 MiB");
    refuse((struct cubby_box_options){.memory_mib = UINT32_MAX}, CUBBY_EARGUMENT, "MiB");
    refuse((struct cubby_box_options){.flags = 0x80}, CUBBY_EARGUMENT, "0x80");
    refuse((struct cubby_box_options){.boot_timeout_ms = UINT32_MAX}, CUBBY_EARGUMENT, "too long");
    refuse((struct cubby_box_options){.disk_mib = 15}, CUBBY_EARGUMENT, "15 MiB; choose 16 to");
    refuse((struct cubby_box_options){.disk_mib = CUBBY_DISK_MIB_MAX + 1}, CUBBY_EARGUMENT, "MiB");
    refuse((struct cubby_box_options){.kernel = "/nonexistent"}, CUBBY_ECONFIG,
           "cannot open kernel '/nonexistent'");
    refuse((struct cubby_box_options){.kernel = "/tmp"}, CUBBY_ECONFIG, "is a folder");
    refuse((struct cubby_box_options){.kernel = "/dev/null"}, CUBBY_ECONFIG, "not a regular file");
    refuse((struct cubby_box_options){.rootfs = "/nonexistent"}, CUBBY_EIMAGE_NOT_FOUND, "'/nonexistent'");
    refuse((struct cubby_box_options){.rootfs = "/dev/null"}, CUBBY_EIMAGE, "not a regular file");
    refuse((struct cubby_box_options){.rootfs = "/etc/passwd"}, CUBBY_EIMAGE, "not an ext4 image");
    refuse((struct cubby_box_options){.assets = "/nonexistent"}, CUBBY_ECONFIG,
           "cannot find cubby-vmm in '/nonexistent'");
}

static void arguments_that_are_missing_are_refused(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box_options o = {.size = 3};
    struct cubby_box *box;
    assert_int_equal(cubby_box_create(NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_create(&box, &o, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_create(&box, &o, NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_start(NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_wait_ready(NULL, 0, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_wait_ended(NULL, 0, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_stop(NULL, 0, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_fd(NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_state(NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_failure(NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_box_pid(NULL), 0);
    assert_int_equal(cubby_box_console(NULL, NULL, 0), 0);
    assert_int_equal(cubby_box_timeline(NULL, NULL, 0, &e), CUBBY_EARGUMENT);
    assert_null(cubby_box_timeline_json(NULL));
    assert_string_equal(cubby_box_id(NULL), "");
}

static void a_folder_becomes_an_image_without_a_name(void **state)
{
    (void)state;
    char dir[128];
    struct cubby_box *box;
    struct cubby_error e;
    snprintf(dir, sizeof(dir), "%s/tree", place.root);
    mkdir(dir, 0755);
    fake_file(dir, "file", "content", 7, 0);
    struct cubby_box_options o = {.size = sizeof(o), .rootfs = dir};
    assert_int_equal(cubby_box_create(&box, &o, &e), 0);
    assert_int_equal(count_entries(place.tmp), 0);
    cubby_box_destroy(box);
}

static void making_an_image_can_be_given_up(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int cancel = eventfd(1, EFD_CLOEXEC);
    struct cubby_box *box;
    struct cubby_error e;
    struct cubby_box_options o = {.size = sizeof(o), .rootfs = place.assets, .cancel_fd = cancel};
    assert_int_equal(cubby_box_create(&box, &o, &e), CUBBY_ESTOPPED);
    assert_int_equal(count_entries(place.tmp), 0);
}

static void a_temporary_folder_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    struct cubby_box *box;
    struct cubby_error e;
    setenv("TMPDIR", "/nonexistent/folder", 1);
    struct cubby_box_options o = {.size = sizeof(o), .rootfs = place.assets};
    assert_int_equal(cubby_box_create(&box, &o, &e), CUBBY_ESTORAGE);
    assert_non_null(strstr(e.message, "/nonexistent/folder"));
}

/* A child owns a box and dies by SIGKILL: the VM ends by itself, and the next box sweeps the folder. */
static void the_death_of_the_owner_ends_the_vm_and_the_next_box_sweeps(void **state)
{
    (void)state;
    int fds[2];
    struct cubby_error e;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct cubby_box *box = start("ok", 0);
        cubby_box_wait_ready(box, 10000, &e);
        pid_t vmm = cubby_box_pid(box);
        if (write(fds[1], &vmm, sizeof(vmm)) != sizeof(vmm))
            _exit(1);
        raise(SIGKILL);
    }
    pid_t vmm = 0;
    assert_int_equal(read(fds[0], &vmm, sizeof(vmm)), sizeof(vmm));
    waitpid(child, NULL, 0);
    close(fds[0]);
    close(fds[1]);
    for (int i = 0; i < 1000 && kill(vmm, 0) == 0; i++)
        usleep(10000); /* it is nobody's child here, so there is nothing to wait for */
    assert_int_equal(kill(vmm, 0), -1);
    assert_int_equal(count_boxes(&place), 1);
    struct cubby_box *box;
    assert_int_equal(cubby_box_create(&box, NULL, &e), 0);
    assert_int_equal(count_boxes(&place), 1);
    cubby_box_destroy(box);
}

static void twenty_boxes_live_side_by_side(void **state)
{
    (void)state;
    struct cubby_box *boxes[20];
    struct cubby_error e;
    for (int i = 0; i < 20; i++)
        boxes[i] = start("ok", 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(cubby_box_wait_ready(boxes[i], 20000, &e), 0);
    assert_int_equal(count_boxes(&place), 20);
    for (int i = 0; i < 20; i++)
        cubby_box_destroy(boxes[i]);
}

static void *wait_in_thread(void *box)
{
    return (void *)(intptr_t)cubby_box_wait_ended(box, 20000, NULL);
}

static void several_threads_wait_for_one_box(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *ret;
    struct cubby_box *box = start("ok", 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, wait_in_thread, box);
    cubby_box_stop(box, 0, NULL);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &ret);
        assert_int_equal((intptr_t)ret, 0);
    }
    cubby_box_destroy(box);
}

static void a_caller_that_reaps_every_child_still_learns_the_reason(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = start("panic", 0);
    assert_true(waitpid(-1, NULL, 0) > 0);
    assert_int_equal(cubby_box_wait_ready(box, 20000, &e), CUBBY_EBOOT);
    assert_non_null(strstr(e.message, "no init"));
    cubby_box_destroy(box);
    box = start("ok", 0);
    assert_int_equal(cubby_box_wait_ready(box, 20000, &e), 0);
    kill(cubby_box_pid(box), SIGKILL);
    assert_true(waitpid(-1, NULL, 0) > 0);
    cubby_box_wait_ended(box, 20000, NULL);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_EGUEST_LOST);
    cubby_box_destroy(box);
}

static void a_caller_that_ignores_sigchld_still_learns_the_end(void **state)
{
    (void)state;
    struct cubby_error e;
    signal(SIGCHLD, SIG_IGN);
    struct cubby_box *box = start("panic", 0);
    assert_int_equal(cubby_box_wait_ready(box, 20000, &e), CUBBY_EBOOT);
    signal(SIGCHLD, SIG_DFL);
    cubby_box_destroy(box);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv)) {
        int code = fake_vmm_main(argv);
        fflush(NULL);
        _exit(code);
    }
    const struct CMUnitTest tests[] = {
        TEST(a_box_becomes_ready_and_is_gone_when_destroyed),
        TEST(a_box_that_was_never_started_can_be_destroyed),
        TEST(starting_twice_is_a_wrong_state),
        TEST(stop_ends_the_vm_and_keeps_timeline_and_console),
        TEST(what_the_vmm_says_before_it_gives_up_is_carried),
        TEST(a_forbidden_kvm_has_a_code_of_its_own_and_points_to_doctor),
        TEST(a_panic_while_booting_is_told_with_the_console),
        TEST(a_vmm_killed_while_booting_is_told),
        TEST(an_agent_that_breaks_the_contract_ends_the_boot),
        TEST(a_boot_that_hangs_ends_at_its_deadline),
        TEST(waiting_can_time_out_and_go_on),
        TEST(a_vmm_killed_later_makes_the_box_fail),
        TEST(a_kvm_that_cannot_run_kernels_is_told_by_the_probe_and_remembered),
        TEST(a_probe_that_is_slow_or_confused_does_not_condemn),
        TEST(options_out_of_range_are_refused_by_name),
        TEST(arguments_that_are_missing_are_refused),
        TEST(a_folder_becomes_an_image_without_a_name),
        TEST(making_an_image_can_be_given_up),
        TEST(a_temporary_folder_that_cannot_be_used_is_named),
        TEST(the_death_of_the_owner_ends_the_vm_and_the_next_box_sweeps),
        TEST(twenty_boxes_live_side_by_side),
        TEST(several_threads_wait_for_one_box),
        TEST(a_caller_that_reaps_every_child_still_learns_the_reason),
        TEST(a_caller_that_ignores_sigchld_still_learns_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
