/* SPDX-License-Identifier: Apache-2.0 */
/* The small parts: errors, option structs, assets, child processes, the probe and its memory, doctor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* a macro of cmocka, and a function of ours */

#include "runtime/assets.h"
#include "runtime/box_image.h"
#include "runtime/errors.h"
#include "runtime/kvm_cache.h"
#include "runtime/kvm_probe.h"
#include "runtime/options.h"
#include "runtime/spawn.h"
#include "runtime/waiter.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

static struct place place;

static int set_up(void **state)
{
    (void)state;
    unsetenv("FAKE_PROBE");
    return place_make(&place);
}

static int tear_down(void **state)
{
    (void)state;
    place_remove(&place);
    return 0;
}

/* ---- errors
 * -----------------------------------------------------------------------------------------------*/

static void texts_of_strangers_are_made_printable(void **state)
{
    (void)state;
    static const struct {
        const char *in, *line, *lines;
    } cases[] = {
        {"plain äöü €", "plain äöü €", "plain äöü €"},
        {"a\nb\r\nc\td", "a b c d", "a\nb\nc d"},
        {"\x1b[31m\x7f\x01", "?[31m??", "?[31m??"},
        {"\xc2\x9b", "??", "??"},                   /* a C1 control */
        {"\xc0\x80\xe0\x80\x80", "?????", "?????"}, /* overlong */
        {"\xed\xa0\x80", "???", "???"},             /* a surrogate */
        {"\xf4\x90\x80\x80", "????", "????"},       /* beyond Unicode */
        {"\xe2\x82", "??", "??"},                   /* cut */
        {"\xf0\x9f\x98\x80\xff", "\xf0\x9f\x98\x80?", "\xf0\x9f\x98\x80?"},
        {"", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];
        strcpy(text, cases[i].in);
        assert_int_equal(text_make_printable(text, 0), strlen(cases[i].line));
        assert_string_equal(text, cases[i].line);
        strcpy(text, cases[i].in);
        text_make_printable(text, 1);
        assert_string_equal(text, cases[i].lines);
    }
}

static void errors_carry_code_and_one_line(void **state)
{
    (void)state;
    struct cubby_error e;
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(fail(&e, CUBBY_EBOOT, "two\nlines"), CUBBY_EBOOT);
    assert_int_equal(e.code, CUBBY_EBOOT);
    assert_string_equal(e.message, "two lines");
    assert_int_equal(fail(NULL, CUBBY_EBOOT, "x"), CUBBY_EBOOT);
    fail(&e, CUBBY_EBOOT, "%s", text);
    assert_true(strlen(e.message) < CUBBY_ERROR_TEXT);
    assert_string_equal(e.message + strlen(e.message) - 3, "…");
}

static void an_errno_with_one_meaning_decides_the_code(void **state)
{
    (void)state;
    static const struct {
        int err, code;
    } cases[] = {{ENOMEM, CUBBY_ERESOURCE}, {EMFILE, CUBBY_ERESOURCE}, {ENOSPC, CUBBY_ESTORAGE},
                 {EIO, CUBBY_ESTORAGE},     {EROFS, CUBBY_ESTORAGE},   {ENOENT, CUBBY_ECONFIG}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e;
        struct cubby_error out;
        err_set(&e, -cases[i].err, "because");
        assert_int_equal(fail_err(&out, CUBBY_ECONFIG, &e), cases[i].code);
        assert_string_equal(out.message, "because");
    }
}

static void each_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int code = CUBBY_EINTERNAL; code <= CUBBY_OK; code++) {
        assert_string_not_equal(cubby_code_name(code), "unknown");
        for (int other = CUBBY_EINTERNAL; other < code; other++)
            assert_string_not_equal(cubby_code_name(code), cubby_code_name(other));
    }
    assert_string_equal(cubby_code_name(1), "unknown");
    assert_string_equal(cubby_code_name(-1000), "unknown");
    assert_string_equal(cubby_code_name(INT_MIN), "unknown");
    assert_true(strlen(cubby_version()) > 0);
}

/* ---- option structs
 * ---------------------------------------------------------------------------------------*/

struct grown {
    size_t size;
    int a, b, added, reserved; /* no padding: its bytes could be anything */
};

static void option_structs_may_be_older_or_newer(void **state)
{
    (void)state;
    struct grown ours, theirs = {.size = offsetof(struct grown, added), .a = 1, .b = 2, .added = 99};
    struct cubby_error e;
    size_t least = offsetof(struct grown, added);
    assert_int_equal(options_copy(&ours, sizeof(ours), least, &theirs, &e), 0);
    assert_int_equal(ours.b, 2);
    assert_int_equal(ours.added, 0); /* an older caller does not know it */
    theirs.size = sizeof(theirs);
    assert_int_equal(options_copy(&ours, least, least, &theirs, &e),
                     CUBBY_EARGUMENT); /* a newer one wants it */
    theirs.added = 0;
    assert_int_equal(options_copy(&ours, least, least, &theirs, &e), 0);
    theirs.size = 1;
    assert_int_equal(options_copy(&ours, sizeof(ours), least, &theirs, &e), CUBBY_EARGUMENT);
    theirs.size = SIZE_MAX;
    assert_int_equal(options_copy(&ours, sizeof(ours), least, &theirs, &e), CUBBY_EARGUMENT);
    assert_int_equal(options_copy(&ours, sizeof(ours), least, NULL, &e), 0);
    assert_int_equal(ours.a, 0);
}

/* ---- assets
 * -----------------------------------------------------------------------------------------------*/

static void assets_are_found_in_the_order_that_is_written_down(void **state)
{
    (void)state;
    char found[PATH_MAX], expected[200], list[200];
    struct err e;
    fake_assets(place.assets);
    snprintf(expected, sizeof(expected), "%s/vmlinux", place.assets);
    assert_int_equal(asset_find(ASSET_KERNEL, NULL, found, &e), 0); /* by $CUBBY_ASSETS */
    assert_string_equal(found, expected);
    snprintf(list, sizeof(list), "/nonexistent::%s", place.assets);
    assert_int_equal(asset_find(ASSET_KERNEL, list, found, &e), 0);
    assert_string_equal(found, expected);
    fake_file(place.tmp, "vmlinux", "other", 5, 0);
    snprintf(expected, sizeof(expected), "%s/vmlinux", place.tmp);
    assert_int_equal(asset_find(ASSET_KERNEL, place.tmp, found, &e), 0); /* the option goes first */
    assert_string_equal(found, expected);
    assert_int_equal(asset_find(ASSET_INITRD, place.tmp, found, &e), -ENOENT);
    assert_non_null(strstr(e.text, "cannot find initrd.cpio in"));
    assert_non_null(strstr(e.text, "make all"));
    unsetenv("CUBBY_ASSETS");
    assert_int_equal(asset_find(ASSET_INITRD, NULL, found, &e),
                     -ENOENT); /* neither beside us nor installed */
    assert_non_null(strstr(e.text, "CUBBY_ASSETS"));
}

static void files_are_checked_before_use(void **state)
{
    (void)state;
    struct err e;
    char path[200];
    fake_file(place.tmp, "good", "x", 1, 0);
    fake_file(place.tmp, "empty", "", 0, 0);
    snprintf(path, sizeof(path), "%s/good", place.tmp);
    assert_int_equal(file_check("thing", path, &e), 0);
    snprintf(path, sizeof(path), "%s/empty", place.tmp);
    assert_int_equal(file_check("thing", path, &e), -EINVAL);
    assert_non_null(strstr(e.text, "is empty"));
    snprintf(path, sizeof(path), "%s/fifo", place.tmp);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_check("thing", path, &e), -EINVAL); /* and does not hang */
    assert_int_equal(file_check("thing", place.tmp, &e), -EISDIR);
    assert_int_equal(file_check("thing", "/nonexistent", &e), -ENOENT);
    assert_non_null(strstr(e.text, "thing '/nonexistent'"));
}

/* ---- child processes
 * --------------------------------------------------------------------------------------*/

static int run(const char *script, struct child *c, int out)
{
    char sh[] = "/bin/sh", flag[] = "-c", copy[300];
    snprintf(copy, sizeof(copy), "%s", script);
    char *argv[] = {sh, flag, copy, NULL};
    CLEANUP(fd_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct spawn_request r = {
        .path = sh, .argv = argv, .nfds = 3, .fds = {{null, 0}, {out < 0 ? null : out, 1}, {null, 2}}};
    return spawn(c, &r, NULL);
}

static void children_end_by_code_or_signal(void **state)
{
    (void)state;
    struct child c;
    assert_int_equal(run("exit 7", &c, -1), 0);
    assert_true(child_reap(&c, true));
    assert_int_equal(WEXITSTATUS(c.status), 7);
    child_signal(&c, SIGKILL); /* nothing happens */
    child_fini(&c);
    child_fini(&c);
    assert_int_equal(run("kill -TERM $$", &c, -1), 0);
    assert_true(child_reap(&c, true));
    assert_int_equal(WTERMSIG(c.status), SIGTERM);
    child_fini(&c);
    assert_int_equal(run("sleep 1000", &c, -1), 0);
    assert_false(child_reap(&c, false));
    pid_t pid = c.pid;
    child_fini(&c); /* kills */
    assert_int_equal(kill(pid, 0), -1);
}

static void a_program_that_cannot_be_run_is_an_error_here(void **state)
{
    (void)state;
    struct child c = {.pid = 77};
    struct err e;
    char *argv[] = {NULL, NULL};
    struct spawn_request r = {.path = "/nonexistent/program", .argv = argv};
    assert_int_equal(spawn(&c, &r, &e), -ENOENT);
    assert_non_null(strstr(e.text, "'/nonexistent/program'"));
    assert_int_equal(c.pid, 77);
    r.path = "/etc/passwd";
    assert_int_equal(spawn(&c, &r, &e), -EACCES);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}

static void children_get_no_descriptor_no_mask_and_no_ignored_signal(void **state)
{
    (void)state;
    int fds[2];
    struct child c;
    char text[256] = "";
    sigset_t block;
    CLEANUP(fd_closep) int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
    CLEANUP(fd_closep) int high = fcntl(leak, F_DUPFD, 200);
    assert_true(high >= 200);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    sigfillset(&block);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    signal(SIGUSR1, SIG_IGN);
    assert_int_equal(
        run("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'", &c,
            fds[1]),
        0);
    signal(SIGUSR1, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &block, NULL);
    close(fds[1]);
    for (size_t at = 0; at < sizeof(text) - 1;) {
        ssize_t n = read(fds[0], text + at, sizeof(text) - 1 - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fds[0]);
    child_reap(&c, true);
    child_fini(&c);
    unsigned long long blocked = 1, ignored = 1;
    assert_int_equal(sscanf(text, "0 1 2 3 SigBlk:%llxSigIgn:%llx", &blocked, &ignored),
                     2); /* 3 is ls's own */
    assert_int_equal(blocked, 0);
    /* posix_spawn() of glibc leaves the two signals ignored that glibc keeps for itself (32 and 33). */
    assert_int_equal(ignored & ~0x180000000ull, 0);
}

/* Numbers that are the source of one and the target of another. */
static void descriptors_may_be_swapped(void **state)
{
    (void)state;
    int pipes[2][2];
    struct child c;
    char text[8] = "", sh[] = "/bin/sh", flag[] = "-c", script[] = "echo out; echo err >&2";
    char *argv[] = {sh, flag, script, NULL};
    CLEANUP(fd_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
    int saved[2] = {fcntl(1, F_DUPFD_CLOEXEC, 3), fcntl(2, F_DUPFD_CLOEXEC, 3)};
    dup2(pipes[0][1], 1);
    dup2(pipes[1][1], 2);
    struct spawn_request r = {.path = sh, .argv = argv, .nfds = 3, .fds = {{null, 0}, {2, 1}, {1, 2}}};
    int ret = spawn(&c, &r, NULL);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    assert_int_equal(ret, 0);
    child_reap(&c, true);
    child_fini(&c);
    for (int i = 0; i < 2; i++) {
        close(saved[i]);
        close(pipes[i][1]);
        assert_int_equal(read(pipes[i][0], text, sizeof(text)), 4);
        assert_memory_equal(text, i == 0 ? "err\n" : "out\n", 4);
        close(pipes[i][0]);
    }
}

/* ---- the waiter
 * -------------------------------------------------------------------------------------------*/

static void a_waiter_wakes_by_descriptor_timer_and_deadline(void **state)
{
    (void)state;
    struct waiter w;
    int fds[2];
    assert_int_equal(waiter_init(&w, NULL), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(waiter_add(&w, fds[0], EPOLLIN, 1), 0);
    waiter_lock(&w);
    assert_int_equal(waiter_ready(&w), 0);
    assert_true(waiter_wait(&w, now_ns() + 1000000));
    assert_false(waiter_wait(&w, now_ns()));
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(waiter_wait(&w, WAITER_NEVER));
    assert_int_equal(waiter_ready(&w), 1);
    waiter_remove(&w, fds[0]);
    waiter_remove(&w, -1);
    waiter_set_timer(&w, now_ns() + 1000000);
    assert_true(waiter_wait(&w, WAITER_NEVER));
    assert_int_equal(waiter_ready(&w), WAITER_TIMER);
    assert_int_equal(waiter_ready(&w), 0); /* it fires once */
    waiter_finish(&w);
    assert_true(waiter_wait(&w, WAITER_NEVER));
    assert_int_equal(waiter_ready(&w), WAITER_DONE);
    assert_int_equal(waiter_ready(&w), WAITER_DONE); /* for good */
    waiter_unlock(&w);
    close(fds[0]);
    close(fds[1]);
    waiter_fini(&w);
    waiter_fini(&w);
}

struct sleepers {
    struct waiter w;
    int asleep, round; /* guarded by the waiter's lock */
};

static void *sleep_for_a_round(void *arg)
{
    struct sleepers *s = arg;
    waiter_lock(&s->w);
    s->asleep++;
    for (int before = s->round; s->round == before;)
        waiter_wait(&s->w, WAITER_NEVER);
    waiter_unlock(&s->w);
    return NULL;
}

/* Nothing happens to the descriptors: the news comes from another thread alone, to the one that polls, too.
 */
static void an_announcement_wakes_all_threads(void **state)
{
    (void)state;
    enum { SLEEPERS = 3 };
    struct sleepers s = {0};
    pthread_t threads[SLEEPERS];
    assert_int_equal(waiter_init(&s.w, NULL), 0);
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < SLEEPERS; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, sleep_for_a_round, &s), 0);
        waiter_lock(&s.w);
        while (s.asleep < SLEEPERS) { /* who counts lets go of the lock only inside waiter_wait() */
            waiter_unlock(&s.w);
            usleep(100);
            waiter_lock(&s.w);
        }
        s.asleep = 0;
        s.round++;
        waiter_announce(&s.w);
        waiter_unlock(&s.w);
        for (int k = 0; k < SLEEPERS; k++)
            pthread_join(threads[k], NULL);
    }
    waiter_lock(&s.w);
    assert_int_equal(waiter_ready(&s.w), 0);
    waiter_unlock(&s.w);
    waiter_fini(&s.w);
}

/* ---- the probe
 * --------------------------------------------------------------------------------------------*/

static enum kvm_verdict probe(const char *how, struct err *e)
{
    char program[200];
    snprintf(program, sizeof(program), "%s/cubby-vmm", place.assets);
    setenv("FAKE_PROBE", how, 1);
    json_t *answer = kvm_probe_run(program, e);
    enum kvm_verdict verdict = answer ? kvm_probe_verdict(answer, e) : KVM_UNKNOWN;
    json_decref(answer);
    return verdict;
}

static void the_probe_gives_a_verdict(void **state)
{
    (void)state;
    struct err e;
    fake_assets(place.assets);
    assert_int_equal(probe("usable", &e), KVM_USABLE);
    assert_int_equal(probe("unusable", &e), KVM_UNUSABLE);
    assert_string_equal(e.text, "cannot iretq; use another host");
    assert_int_equal(probe("slow", &e), KVM_UNKNOWN); /* load looks the same */
    assert_int_equal(probe("hung", &e), KVM_UNKNOWN);
    assert_int_equal(probe("confused", &e), KVM_UNKNOWN);
    assert_null(kvm_probe_run("/nonexistent", &e));
}

static void a_verdict_is_kept_for_this_boot_and_this_vmm(void **state)
{
    (void)state;
    struct err e;
    char program[200];
    if (access("/dev/kvm", F_OK) < 0)
        return; /* there is nothing to be kept */
    fake_assets(place.assets);
    snprintf(program, sizeof(program), "%s/vmlinux", place.assets);
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_UNKNOWN);
    kvm_cache_write(place.tmp, program, KVM_UNKNOWN, "");
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_UNKNOWN);
    kvm_cache_write(place.tmp, program, KVM_UNUSABLE, "too odd");
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_UNUSABLE);
    assert_string_equal(e.text, "too odd");
    kvm_cache_write(place.tmp, program, KVM_USABLE, "");
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_USABLE);
    fake_file(place.assets, "vmlinux", "another build", 13, 0);
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_UNKNOWN);
    fake_file(place.tmp, "kvm-probe", "garbage", 7, 0);
    assert_int_equal(kvm_cache_read(place.tmp, program, &e), KVM_UNKNOWN);
}

/* ---- doctor
 * -----------------------------------------------------------------------------------------------*/

static const char *detail_of(struct cubby_report *r, const char *name, int *ok)
{
    struct cubby_check c;
    for (size_t i = 0; i < cubby_report_count(r); i++) {
        assert_int_equal(cubby_report_check(r, i, &c), 0);
        assert_true(c.ok || c.remedy[0]);
        if (strcmp(c.name, name) == 0) {
            *ok = c.ok;
            return c.detail;
        }
    }
    *ok = -1;
    return "";
}

static void doctor_finds_a_good_host_good(void **state)
{
    (void)state;
    struct cubby_report *r;
    struct cubby_error e;
    struct cubby_check c;
    int ok;
    fake_assets(place.assets);
    assert_int_equal(cubby_doctor(&r, NULL, &e), 0);
    assert_true(cubby_report_usable(r));
    detail_of(r, "device", &ok);
    assert_int_equal(ok, 1);
    detail_of(r, "runtime-folder", &ok);
    assert_int_equal(ok, 1);
    assert_non_null(strstr(cubby_report_json(r), "\"usable\": true"));
    assert_int_equal(cubby_report_check(r, 1000, &c), CUBBY_EARGUMENT);
    cubby_report_free(r);
    assert_int_equal(count_boxes(&place), 0);
}

static void doctor_says_what_is_wrong(void **state)
{
    (void)state;
    struct cubby_report *r;
    struct cubby_error e;
    int ok;
    char path[200];
    fake_assets(place.assets);
    setenv("FAKE_PROBE", "unusable", 1);
    fake_file(place.assets, "vmlinux", "", 0, 0);
    snprintf(path, sizeof(path), "%s/initrd.cpio", place.assets);
    unlink(path);
    assert_int_equal(cubby_doctor(&r, NULL, &e), 0);
    assert_false(cubby_report_usable(r));
    assert_non_null(strstr(detail_of(r, "vmlinux", &ok), "is empty"));
    assert_int_equal(ok, 0);
    assert_non_null(strstr(detail_of(r, "initrd.cpio", &ok), "cannot find"));
    assert_string_equal(detail_of(r, "guest-iretq", &ok), "cannot iretq");
    assert_int_equal(ok, 0);
    cubby_report_free(r);
}

static void doctor_bears_missing_arguments(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_check c;
    assert_int_equal(cubby_doctor(NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_report_usable(NULL), 0);
    assert_int_equal(cubby_report_count(NULL), 0);
    assert_int_equal(cubby_report_check(NULL, 0, &c), CUBBY_EARGUMENT);
    assert_string_equal(cubby_report_json(NULL), "{}");
    cubby_report_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* ---- what an image says about running it
 * ---------------------------------------------------------------*/

static int stop_signal_of(char *named, unsigned flags)
{
    char *cmd[] = {(char[]){"server"}, NULL};
    const char *const argv[] = {"sh", NULL};
    const struct box_image b = {.present = true, .config = {.cmd = cmd, .stop_signal = named}};
    struct cubby_exec_options o = {.size = sizeof(o), .flags = flags, .argv = argv};
    struct box_words w;
    struct cubby_error e;
    assert_int_equal(box_image_apply(&b, &o, &w, &e), 0);
    assert_int_equal(w.of_image, flags == CUBBY_EXEC_IMAGE);
    box_words_fini(&w);
    return w.stop_signal;
}

static void the_images_own_command_gets_its_stop_signal(void **state)
{
    (void)state;
    assert_int_equal(stop_signal_of((char[]){"SIGQUIT"}, CUBBY_EXEC_IMAGE), SIGQUIT);
    assert_int_equal(stop_signal_of((char[]){"RTMIN+3"}, CUBBY_EXEC_IMAGE), SIGRTMIN + 3);
    assert_int_equal(stop_signal_of(NULL, CUBBY_EXEC_IMAGE), SIGTERM);
    assert_int_equal(stop_signal_of((char[]){"SIGNONSENSE"}, CUBBY_EXEC_IMAGE), 0);
    assert_int_equal(stop_signal_of((char[]){"SIGQUIT"}, 0), 0);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv)) {
        int code = fake_vmm_main(argv);
        fflush(NULL);
        _exit(code);
    }
    const struct CMUnitTest tests[] = {
        TEST(texts_of_strangers_are_made_printable),
        TEST(errors_carry_code_and_one_line),
        TEST(an_errno_with_one_meaning_decides_the_code),
        TEST(each_code_has_a_name_of_its_own),
        TEST(option_structs_may_be_older_or_newer),
        TEST(assets_are_found_in_the_order_that_is_written_down),
        TEST(files_are_checked_before_use),
        TEST(children_end_by_code_or_signal),
        TEST(a_program_that_cannot_be_run_is_an_error_here),
        TEST(children_get_no_descriptor_no_mask_and_no_ignored_signal),
        TEST(descriptors_may_be_swapped),
        TEST(a_waiter_wakes_by_descriptor_timer_and_deadline),
        TEST(an_announcement_wakes_all_threads),
        TEST(the_probe_gives_a_verdict),
        TEST(a_verdict_is_kept_for_this_boot_and_this_vmm),
        TEST(doctor_finds_a_good_host_good),
        TEST(doctor_says_what_is_wrong),
        TEST(doctor_bears_missing_arguments),
        TEST(the_images_own_command_gets_its_stop_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
